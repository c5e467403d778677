"""Images to measure with: a data set's own where its files are at hand, else random ones of its shape."""

from __future__ import annotations

from pathlib import Path

import torch

from ignite_kd import data
from ignite_kd.data.dataset import Dataset, Images

__all__ = ["images_for"]

_SHAPES = {"cifar10": ("cifar-10-batches-py", 10), "cifar100": ("cifar-100-python", 100)}


def images_for(name: str, data_dir: str | Path) -> tuple[Dataset, str]:
    """The data set, and what its images are: `real`, `generated` or `random`. Nothing is downloaded."""
    folder, classes = _SHAPES.get(name, ("", 0))
    if not folder:
        return data.load(name, data_dir), "generated"
    if (Path(data_dir) / folder).exists():
        return data.load(name, data_dir, download=False), "real"
    return random_images(name, classes), "random"


def random_images(name: str, classes: int, train: int = 50_000, test: int = 10_000) -> Dataset:
    """Noise under the name of a data set, in its shape: speed does not depend on what images show."""
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> Images:
        images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return Images(images, torch.arange(count) % classes)

    return Dataset(name, draw(train), draw(test), tuple(map(str, range(classes))), (0.5,) * 3, (0.29,) * 3)
