from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from ignite_kd.data.randomness import hashed, number, shuffled, uniform

MASK = 2**64 - 1


def splitmix64(state: int, k: int) -> int:
    """Output number k of SplitMix64 begun at `state`, in plain integers."""
    z = (state + (k + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_splitmix64_here_gives_the_published_first_outputs_for_seed_1234567():
    # Rosetta Code, "Pseudo-random numbers/Splitmix64"
    assert [splitmix64(1234567, k) for k in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize("seed", [0, 1, -7, 2**31, 2**63 - 1, 2**64 + 5])
def test_hashed_is_splitmix64_chained_in_plain_integers(seed):
    keys = [0, 1, 255, 2**40, 2**63 - 1, -1]
    table = hashed(seed, torch.tensor(keys).view(-1, 1), torch.arange(5))
    assert table.shape == (6, 5) and table.dtype == torch.int64
    for row, key in zip(table.tolist(), keys, strict=True):
        assert row == [splitmix64(splitmix64(seed & MASK, key), k) >> 1 for k in range(5)]


@pytest.mark.parametrize("seed", [0, 1, -7, 2**31, 2**63 - 1, 2**64 + 5])
@pytest.mark.parametrize("key", [0, 255, 2**40, 2**63 - 1, -1])
def test_plain_integers_give_the_same_bits_without_a_tensor(seed, key):
    assert number(seed, key, 3) == splitmix64(splitmix64(seed & MASK, key), 3) >> 1
    assert number(seed, key, 3) == hashed(seed, key, 3) == hashed(seed, torch.tensor(key), 3)
    assert number(seed) == hashed(seed) == (seed & MASK) >> 1


def test_integers_and_tensors_are_the_same_key():
    assert hashed(3, 4, 5) == hashed(3, torch.tensor(4), torch.tensor(5, dtype=torch.int32))


def test_a_key_and_its_place_both_matter():
    assert len({int(hashed(*args)) for args in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (0, 1), (0, 1, 2, 0)]}) == 5


@pytest.mark.parametrize("values", [hashed(0, torch.arange(100_000)), hashed(7, torch.arange(100_000), 3)])
def test_low_and_high_bits_are_uniform(values):
    assert values.min() >= 0
    assert chisquare(torch.bincount(values % 64).numpy()).pvalue > 1e-4
    assert chisquare(torch.bincount(values >> 57, minlength=64).numpy()).pvalue > 1e-4
    pairs = (values[:-1] % 8) * 8 + values[1:] % 8
    assert chisquare(torch.bincount(pairs).numpy()).pvalue > 1e-4


def test_uniform_numbers_lie_in_the_unit_interval_evenly():
    values = uniform(0, torch.arange(100_000))
    assert values.dtype == torch.float64 and values.min() >= 0 and values.max() < 1
    assert chisquare(torch.histc(values, 50, 0, 1).numpy()).pvalue > 1e-4


def test_shuffled_is_a_permutation_sorted_by_plain_hashes():
    state = splitmix64(5, 2)
    assert shuffled(200, 5, 2).tolist() == sorted(range(200), key=lambda i: splitmix64(state, i) >> 1)


def test_shuffling_neither_uses_nor_moves_torchs_generator():
    before = torch.random.get_rng_state()
    first = shuffled(1000, 0, 1)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(99)
    assert torch.equal(first, shuffled(1000, 0, 1))
    assert not torch.equal(first, shuffled(1000, 0, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_bits_are_the_same_on_a_gpu():
    keys = torch.arange(10_000)
    assert torch.equal(hashed(3, 1, keys.cuda(), 2).cpu(), hashed(3, 1, keys, 2))
