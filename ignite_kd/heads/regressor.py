"""Convolutions that bring a student's map to the width and size of a teacher's; FitNet and AB share them."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError

__all__ = ["BatchNorm", "Regressor", "as_map", "map_size"]


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that uses its running statistics where a batch has one value a channel, which has no variance."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class Regressor(nn.Module):
    """One convolution chosen by the heights of both maps, batch norm, and ReLU where asked.

    A height that halves takes a 3 × 3 convolution of stride 2; one that doubles a transposed 4 × 4 of stride 2; one
    that shrinks otherwise, or stays, a convolution without padding whose kernel is 1 + the difference, so 1 × 1 for
    equal heights. That is the benchmark's choice (Tian et al., 2020, arXiv:1910.10699). It has none for heights that
    grow otherwise: here a 1 × 1 convolution keeps the student's height, and the head pools the teacher's map to it.

    Args:
        inputs: the student's channels.
        outputs: the teacher's channels.
        size: the height of the student's map.
        target: the height of the teacher's map.
        rectified: end with ReLU.
    """

    def __init__(self, inputs: int, outputs: int, size: int, target: int, rectified: bool = True) -> None:
        super().__init__()
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if size == 2 * target:
            self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        elif 2 * size == target:
            self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        else:
            self.conv = nn.Conv2d(inputs, outputs, max(1, 1 + size - target))
        self.norm = BatchNorm(outputs)
        self.rectified = rectified

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.norm(self.conv(as_map(maps)))
        return F.relu(maps) if self.rectified else maps


def as_map(x: Tensor) -> Tensor:
    """Vectors as maps of one pixel; maps as they are."""
    return x[:, :, None, None] if x.dim() == 2 else x


def map_size(strides: Mapping[str, int], stage: str, image_size: int) -> int:
    """The height of a stage's map for images of this height; 1 for a stage without a stride, which is a vector."""
    if image_size < 1:
        raise UserError(f"image_size should be 1 or more, but {image_size} was given (CIFAR has 32).")
    return -(-image_size // strides[stage]) if stage in strides else 1
