"""Vectors out of maps, and of length one: what the heads share that compare directions."""

from __future__ import annotations

import torch
from torch import Tensor

from ignite_kd.heads.base import at_least_float32

__all__ = ["as_vectors", "energy", "unit"]


def unit(x: Tensor, dim: int = 1) -> Tensor:
    """`x` over its length along `dim`; 0, without a gradient, where the length is below 1e-12.

    A division by the length clamped from below has a gradient of up to 1e12 there, which would end the training.
    """
    length = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / length.masked_fill(length < 1e-12, torch.inf)


def as_vectors(x: Tensor) -> Tensor:
    """N × channels in float32 or better; maps are averaged over their positions."""
    return at_least_float32(x).flatten(2).mean(2) if x.dim() > 2 else at_least_float32(x)


def energy(maps: Tensor) -> Tensor:
    """Where the energy of a map is: its mean square over the channels, as a vector of length one; N × positions."""
    return unit(at_least_float32(maps).square().mean(1).flatten(1))
