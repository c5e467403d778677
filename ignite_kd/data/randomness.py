"""Random numbers that are a function of their name: the same on every device, in every process, after every resume."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["hashed", "shuffled", "uniform"]


def _int64(value: int) -> int:
    """The bits of `value` modulo 2^64, read as a signed number, because torch computes with int64."""
    return (value + 2**63) % 2**64 - 2**63


_STEP = _int64(0x9E3779B97F4A7C15)
_FIRST = _int64(0xBF58476D1CE4E5B9)
_SECOND = _int64(0x94D049BB133111EB)


def _right(x: Tensor, bits: int) -> Tensor:
    # torch's >> keeps the sign; the mask makes it the shift of an unsigned number
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _right(x, 30)) * _FIRST
    x = (x ^ _right(x, 27)) * _SECOND
    return x ^ _right(x, 31)


def hashed(seed: int, *keys: int | Tensor) -> Tensor:
    """A number in [0, 2^63) for every (seed, *keys), int64; tensor keys are broadcast against each other.

    Each key k takes the k-th output of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
    generators", OOPSLA 2014, doi:10.1145/2660193.2660195) begun at the number found so far, first at the seed.
    Integers alone decide, so the bits are equal on every device and for every version of torch.
    """
    state = torch.tensor(_int64(seed))
    for key in keys:
        key = key.long() if isinstance(key, Tensor) else torch.tensor(_int64(key))
        state = _mix(state + (key + 1) * _STEP)
    return _right(state, 1)


def uniform(seed: int, *keys: int | Tensor) -> Tensor:
    """A float64 in [0, 1) for every (seed, *keys): the upper 53 bits of `hashed`."""
    return (hashed(seed, *keys) >> 10).double() / 2**53


def shuffled(n: int, seed: int, *keys: int) -> Tensor:
    """The numbers 0 … n - 1 in the order of their hashes; torch's generators are neither used nor moved."""
    return torch.argsort(hashed(seed, *keys, torch.arange(n)), stable=True)
