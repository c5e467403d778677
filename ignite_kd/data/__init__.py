"""Data sets by name, and the loaders that feed them to an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ignite_kd.data.augmentation import Augmentation, normalise
from ignite_kd.data.cifar import cifar10, cifar100
from ignite_kd.data.dataset import Dataset, Images
from ignite_kd.data.folder import FolderData, folder_loaders
from ignite_kd.data.shapes import shapes
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
    "normalise",
    "overlap",
    "split",
]

_IN_MEMORY: dict[str, Callable[[str | Path, bool], Dataset]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "shapes": lambda data_dir, download: shapes(),
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
