"""Data sets by name, and the loaders that feed them to an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ignite_kd.data.augmentation import Augmentation, normalise
from ignite_kd.data.cifar import CIFAR10_NORMALISATION, CIFAR100_NORMALISATION, cifar10, cifar100
from ignite_kd.data.dataset import Dataset, Images
from ignite_kd.data.folder import IMAGENET_NORMALISATION, FolderData, folder_loaders
from ignite_kd.data.shapes import NORMALISATION, shapes
from ignite_kd.data.split import Split, SplitSpec, overlap, split
from ignite_kd.data.stream import Stream
from ignite_kd.errors import UserError, unknown

__all__ = [
    "Augmentation",
    "Dataset",
    "FolderData",
    "Images",
    "Split",
    "SplitSpec",
    "Stream",
    "folder_loaders",
    "load",
    "names",
    "normalisation",
    "normalise",
    "overlap",
    "split",
]

_IN_MEMORY: dict[str, Callable[[str | Path, bool], Dataset]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "shapes": lambda data_dir, download: shapes(),
}
_NORMALISATIONS = {
    "cifar10": CIFAR10_NORMALISATION,
    "cifar100": CIFAR100_NORMALISATION,
    "shapes": NORMALISATION,
    "folder": IMAGENET_NORMALISATION,
}


def names() -> tuple[str, ...]:
    """The data sets there are; `folder` (one's own images) is read by `folder_loaders`, the others by `load`."""
    return (*_IN_MEMORY, "folder")


def load(name: str, data_dir: str | Path = "./data/", download: bool = True) -> Dataset:
    """The data set called `name`, in memory."""
    if name == "folder":
        raise UserError(
            "the data set 'folder' is not held in memory; read it with folder_loaders(data_dir, batch_size)."
        )
    if name not in _IN_MEMORY:
        raise unknown("data set", name, names())
    return _IN_MEMORY[name](data_dir, download)


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the data set called `name`, which need not be at hand."""
    if name not in _NORMALISATIONS:
        raise unknown("data set", name, names())
    return _NORMALISATIONS[name]
