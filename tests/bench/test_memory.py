import torch
from torch import nn

from ignite_kd.bench.memory import PeakMemory, peak_of, resident_peak_of

MIB = 2**20


def test_it_counts_what_lives_at_once_not_what_was_made():
    given = torch.zeros(MIB // 4)  # 1 MiB, there before
    with PeakMemory() as memory:
        for _ in range(5):
            other = given + 1
            other = other * 2  # two of them live while this is made, and until the name is given anew
            del other
    assert memory.peak == 2 * MIB


def test_views_and_changes_in_place_cost_nothing():
    given = torch.zeros(MIB // 4)
    with PeakMemory() as memory:
        given.add_(1).view(-1, 4)[1:].t()
    assert memory.peak == 0


def test_what_the_backward_pass_keeps_and_makes_is_seen():
    model = nn.Linear(MIB // 4, 1, bias=False)  # a weight of 1 MiB, and so its gradient
    with PeakMemory() as memory:
        model(torch.ones(1, MIB // 4)).sum().backward()
    assert MIB * 2 <= memory.peak <= MIB * 2.1  # the images and the gradient


def test_the_peak_of_a_piece_of_work_is_what_it_adds():
    given = torch.zeros(MIB // 4)
    assert peak_of(lambda: (given + 1) * 2, torch.device("cpu")) == 2 * MIB


def test_pages_tell_the_same_of_large_blocks():
    def work():
        first = torch.ones(25 * MIB)  # 100 MiB
        second = first + 1
        del first
        return second + 1  # two at a time

    # and in memory that was kept before, the hole that the first one left
    found, nothing = resident_peak_of(work), resident_peak_of(lambda: None)
    assert found is None or (195 * MIB < found < 320 * MIB and nothing < 5 * MIB)
