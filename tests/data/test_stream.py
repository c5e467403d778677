from __future__ import annotations

import itertools

import pytest
import torch
from ignite.engine import Engine, Events

from ignite_kd.data.augmentation import Augmentation, normalise
from ignite_kd.data.dataset import Images
from ignite_kd.data.stream import Stream
from ignite_kd.errors import UserError
from ignite_kd.representation import Batch

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
DATA = Images(
    torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(50) % 10,
)


def stream(batch_size: int = 8, **options) -> Stream:
    defaults = {"mean": MEAN, "std": STD, "augmentation": Augmentation(2), "shuffle": True}
    return Stream(DATA, batch_size, **{**defaults, **options})


def equal(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def passes(loader: Stream, times: int) -> list[Batch]:
    return [batch for _ in range(times) for batch in loader]


def test_every_image_comes_exactly_once_an_epoch_with_its_label():
    loader = stream()
    for _ in range(3):
        batches = list(loader)
        assert len(batches) == len(loader) == 7
        indices = torch.cat([batch.indices for batch in batches])
        assert sorted(indices.tolist()) == list(range(50))
        assert torch.equal(torch.cat([batch.labels for batch in batches]), DATA.labels[indices])


def test_evaluation_gives_the_normalised_images_in_order():
    batches = list(stream(augmentation=None, shuffle=False))
    assert torch.equal(torch.cat([batch.images for batch in batches]), normalise(DATA.images, MEAN, STD))
    assert torch.equal(torch.cat([batch.indices for batch in batches]), torch.arange(50))


@pytest.mark.parametrize("iteration", range(0, 22, 3))
def test_a_stream_put_at_any_iteration_gives_the_batches_of_one_that_never_stopped(iteration):
    never_stopped = passes(stream(), 4)
    resumed = stream()
    resumed.seek(iteration)
    rest = passes(resumed, 4 - iteration // 7)
    assert len(rest) == 28 - iteration
    assert all(map(equal, rest, never_stopped[iteration:]))


def test_epochs_differ_in_order_and_in_augmentation():
    first, second = passes(stream(), 2)[::7]
    assert not torch.equal(first.indices, second.indices)
    in_order = passes(stream(shuffle=False), 2)[::7]
    assert not torch.equal(in_order[0].images, in_order[1].images)


def test_a_pass_given_up_leaves_no_trace():
    peeked = stream()
    next(iter(peeked))
    assert all(map(equal, passes(peeked, 2), passes(stream(), 2)))


def test_a_pass_left_at_its_last_batch_is_followed_by_the_next_epoch():
    loader = stream()
    for _ in itertools.islice(loader, 7):
        pass
    assert equal(next(iter(loader)), passes(stream(), 2)[7])


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_ranks_together_see_the_batches_of_a_single_process(world_size):
    ranks = [passes(stream(rank=rank, world_size=world_size), 2) for rank in range(world_size)]
    for whole, *shares in zip(passes(stream(), 2), *ranks, strict=True):
        assert equal(whole, Batch(*map(torch.cat, zip(*shares, strict=True))))


def test_indices_of_a_subset_are_positions_in_it():
    chosen = torch.tensor([40, 3, 17, 8])
    (batch,) = stream(batch_size=4, indices=chosen, augmentation=None)
    assert sorted(batch.indices.tolist()) == [0, 1, 2, 3]
    assert torch.equal(batch.images, normalise(DATA.images[chosen[batch.indices]], MEAN, STD))
    assert torch.equal(batch.labels, DATA.labels[chosen[batch.indices]])


def test_batches_have_the_type_and_layout_that_were_asked_for():
    batch = next(iter(stream(dtype=torch.bfloat16, memory_format=torch.channels_last)))
    assert batch.images.dtype == torch.bfloat16
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_the_last_batch_can_be_left_out():
    assert [len(batch.labels) for batch in stream(drop_last=True)] == [8] * 6


def test_global_random_numbers_are_neither_used_nor_moved():
    before = torch.random.get_rng_state()
    list(stream())
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_ignite_engine_sees_every_epoch_in_turn():
    seen: list[Batch] = []
    Engine(lambda engine, batch: seen.append(batch)).run(stream(), max_epochs=3)
    assert len(seen) == 21 and all(map(equal, seen, passes(stream(), 3)))


def test_an_ignite_engine_that_was_stopped_within_an_epoch_goes_on_where_it_was():
    seen: list[Batch] = []
    first = Engine(lambda engine, batch: seen.append(batch))
    first.add_event_handler(Events.ITERATION_COMPLETED(once=10), lambda: first.terminate())
    first.run(stream(), max_epochs=3)
    resumed, loader = Engine(lambda engine, batch: seen.append(batch)), stream()
    resumed.load_state_dict({"iteration": 10, "epoch_length": len(loader), "max_epochs": 3})
    loader.seek(10)
    resumed.run(loader)
    assert len(seen) == 21 and all(map(equal, seen, passes(stream(), 3)))


def test_a_training_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="64 is more than the 50 training images; give at most 50"):
        stream(batch_size=64)
    assert len(stream(batch_size=64, shuffle=False)) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_batches_have_the_same_bits_on_a_gpu():
    for here, there in zip(passes(stream(), 2), passes(stream(device="cuda"), 2), strict=True):
        assert there.images.is_cuda and equal(here, there.to(torch.device("cpu")))
