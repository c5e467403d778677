"""Pad, flip, crop and normalise a whole batch where it lies, bit-equal to torchvision image by image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ignite_kd.data.randomness import hashed
from ignite_kd.errors import UserError, unknown

__all__ = ["Augmentation", "normalise"]

_MODES = ("reflect", "zeros")


@dataclass(frozen=True)
class Augmentation:
    """The pad, flip and crop of the CIFAR recipes; crops have the size of the image.

    Args:
        padding: pixels on every side.
        mode: `reflect` (the released VID code) or `zeros` (the CRD benchmark: black *before* normalisation).
        flip: mirror every second image, on average.
    """

    padding: int = 4
    mode: str = "reflect"
    flip: bool = True

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise unknown("padding mode", self.mode, _MODES)
        if self.padding < 0:
            raise UserError(f"padding is {self.padding}; it should be 0 or more pixels.")

    def offsets(self, seed: int, epoch: int, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(dy, dx, flip) of the images at `indices`: a function of (seed, epoch, index) and of nothing else."""
        number = hashed(seed, epoch, indices.unsqueeze(-1), torch.arange(3, device=indices.device))
        dy, dx, coin = number.unbind(-1)
        places = 2 * self.padding + 1
        return dy % places, dx % places, (coin % 2 == 1) & self.flip

    def apply(self, images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor) -> Tensor:
        """B × C × H × W images padded, flipped where `flip`, and cropped with the corner at (dy, dx)."""
        height, width = images.shape[-2:]
        if self.mode == "reflect" and self.padding >= min(height, width):
            raise UserError(
                f"a reflection of {self.padding} pixels needs images larger than {height}×{width}; "
                "pad less, or with zeros."
            )
        # One gather: what each pixel of the crop was before. Copying padded batches costs five times as much.
        rows = dy[:, None] - self.padding + torch.arange(height, device=images.device)
        columns = dx[:, None] - self.padding + torch.arange(width, device=images.device)
        columns = torch.where(flip[:, None], width - 1 - columns, columns)
        source = self._inside(rows, height)[:, :, None] * width + self._inside(columns, width)[:, None, :]
        source = source.flatten(1)[:, None, :].expand(-1, images.shape[1], -1)
        crops = images.flatten(2).gather(2, source).view(images.shape)
        if self.mode == "zeros":
            seen = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
            crops = crops * seen[:, None]
        return crops

    def _inside(self, places: Tensor, size: int) -> Tensor:
        if self.mode == "zeros":
            return places.clamp(0, size - 1)
        return (size - 1) - ((size - 1) - places.abs()).abs()


def _within(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)


def normalise(
    images: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """8-bit images as floats with the mean taken off, divided by the deviation; the bits of ToTensor and Normalize."""
    scale, mean_, std_ = _constants(tuple(mean), tuple(std), images.device)
    return images.float().div_(scale).sub_(mean_).div_(std_).to(dtype)


@lru_cache(maxsize=16)
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    # On a GPU torch multiplies by the reciprocal of a plain 255, which is another bit pattern; a tensor is divided by.
    # Kept, because a copy to the GPU in every step is a synchronisation.
    scale = torch.tensor(255.0, device=device)
    return scale, torch.tensor(mean, device=device).view(-1, 1, 1), torch.tensor(std, device=device).view(-1, 1, 1)
