"""A data set that lies in memory: 8-bit images, their labels and, where there are any, foreground masks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Dataset", "Images"]


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images.

    Args:
        images: uint8, N × 3 × H × W.
        labels: int64, N.
        masks: bool, N × H × W, True on the foreground; None where nobody knows it.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Images:
        """The images at `indices`, in that order."""
        return Images(self.images[indices], self.labels[indices], None if self.masks is None else self.masks[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train on, images to report on, and how to normalise both (in units where a pixel is in [0, 1])."""

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def digest(self) -> str:
        """16 hexadecimal digits that change when any image, label, mask or class name changes (0.1 s on CIFAR)."""
        sha = hashlib.sha256(repr(self.classes).encode())
        for part in (self.train, self.test):
            for tensor in (part.images, part.labels, part.masks):
                if tensor is not None:
                    sha.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
                    sha.update(tensor.cpu().contiguous().numpy().data)
        return sha.hexdigest()[:16]
