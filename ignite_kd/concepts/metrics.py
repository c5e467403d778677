"""What entropy maps say of a training: how many concepts, how early and how evenly learned, how stable.

Maps are images × checkpoints × S × S, foreground and background images × S × S, distances one number a checkpoint.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ignite_kd.errors import UserError

__all__ = [
    "LearningSpeed",
    "background_level",
    "best_checkpoints",
    "concepts",
    "counts",
    "distances_at",
    "learning_speed",
    "ratios",
    "stability",
]


def background_level(maps: Tensor, background: Tensor) -> Tensor:
    """One entropy a checkpoint: the mean over images of the mean over an image's background cells."""
    inside = background[:, None].to(maps.dtype)
    return ((maps * inside).sum((2, 3)) / inside.sum((2, 3))).mean(0)


def concepts(maps: Tensor, level: Tensor, margin: float = 0.2) -> Tensor:
    """The cells that a layer discards less than the background, by more than the margin."""
    return level.view(-1, 1, 1) - maps > margin


def counts(found: Tensor, cells: Tensor) -> Tensor:
    """Images × checkpoints: how many concepts lie in these cells."""
    return (found & cells[:, None]).sum((2, 3))


def ratios(foreground: Tensor, background: Tensor) -> Tensor:
    """Images × checkpoints: the part of the concepts that is on the foreground; 0 where there are none."""
    return foreground / (foreground + background).clamp(min=1)


def best_checkpoints(counted: Tensor, published_slip: bool = False) -> Tensor:
    """For each image the first checkpoint with the most concepts.

    Args:
        published_slip: as the released code does for residual networks: the first checkpoint is left out, but the
            places are still counted from it, so that each answer is one too early.
    """
    return (counted[:, 1:] if published_slip else counted).argmax(1)


class LearningSpeed(NamedTuple):
    """How far the weights had moved when each image had most of its concepts.

    The paper calls its spread a deviation, its authors elsewhere a variance: both are here. `slope` is concepts a
    distance, over the images that moved.
    """

    mean: float
    std: float
    variance: float
    slope: float
    not_moved: int  # images with most concepts before any step; their slope is infinite


def learning_speed(
    counted: Tensor, distances: Tensor, published_slip: bool = False, infinite_slopes: bool = False
) -> LearningSpeed:
    """`infinite_slopes`: let images that have not moved make the slope infinite, as the released code does."""
    best = best_checkpoints(counted, published_slip)
    moved = distances[best].double()
    most = counted.amax(1).double()
    still = moved == 0
    kept = torch.ones_like(still) if infinite_slopes else ~still
    variance = float(moved.var(correction=0))
    slope = float((most[kept] / moved[kept]).mean())
    return LearningSpeed(float(moved.mean()), variance**0.5, variance, slope, int(still.sum()))


def stability(found: Tensor, cells: Tensor, without_first: bool = False) -> Tensor:
    """For each image, of the concepts that it ever had in these cells, the part that it has at the end; 0 of none.

    Args:
        without_first: leave out the first checkpoint, which is that of untrained weights.
    """
    inside = (found & cells[:, None])[:, int(without_first) :]
    ever = inside.any(1).sum((1, 2))
    return inside[:, -1].sum((1, 2)) / ever.clamp(min=1)


def distances_at(path: Tensor, epochs: Tensor | list[int]) -> Tensor:
    """How far the weights had moved at these epochs, from the path of each epoch 1, 2, …"""
    wanted = torch.as_tensor(epochs)
    if wanted.max() > len(path):
        raise UserError(f"the path of the weights ends at epoch {len(path)}, but epoch {int(wanted.max())} was asked.")
    return torch.cat([path.new_zeros(1), path.cumsum(0)])[wanted]
