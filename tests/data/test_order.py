from __future__ import annotations

from itertools import chain

import pytest
import torch

from ignite_kd.data.order import Order
from ignite_kd.errors import UserError


def positions(order: Order, epoch: int = 0, offset: int = 0) -> list[list[int]]:
    return [batch.tolist() for batch in order.one_pass(epoch, offset)]


def test_without_shuffling_the_order_is_that_of_the_data():
    assert positions(Order(7, 3, shuffle=False)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_the_last_batch_can_be_left_out():
    assert positions(Order(7, 3, shuffle=False, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("n", [6, 7, 8])
def test_the_length_is_the_number_of_batches(n, drop_last):
    order = Order(n, 3, shuffle=True, drop_last=drop_last)
    assert len(order) == len(positions(order))


def test_each_epoch_holds_every_sample_once_in_an_order_of_its_own():
    first, second = ([*chain(*positions(Order(100, 8, shuffle=True), epoch))] for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second != sorted(second)


def test_an_offset_leaves_out_the_first_batches():
    order = Order(100, 8, shuffle=True)
    assert positions(order, 3, 5) == positions(order, 3)[5:]


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_the_shares_of_the_ranks_follow_each_other_and_differ_by_at_most_one(world_size):
    shares = [positions(Order(100, 8, shuffle=True, rank=r, world_size=world_size)) for r in range(world_size)]
    for whole, *parts in zip(positions(Order(100, 8, shuffle=True)), *shares, strict=True):
        assert [*chain(*parts)] == whole
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"n": 0, "batch_size": 1, "shuffle": False}, "no images"),
        ({"n": 5, "batch_size": 6, "shuffle": True}, "6 is more than the 5 training images; give at most 5"),
        ({"n": 5, "batch_size": 2, "shuffle": True, "world_size": 3}, "give at least 3"),
        ({"n": 5, "batch_size": 0, "shuffle": False}, "0 images was asked for; give at least 1"),
        ({"n": 5, "batch_size": 2, "shuffle": True, "rank": 2, "world_size": 2}, "not one of 0 … 1"),
    ],
)
def test_what_is_impossible_is_refused(arguments, says):
    with pytest.raises(UserError, match=says):
        Order(**arguments)


def test_evaluation_may_take_all_images_in_one_batch():
    assert torch.equal(next(Order(5, 500, shuffle=False).one_pass(0)), torch.arange(5))
