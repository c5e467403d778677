"""One's own images: train/<class>/… and val/<class>/… trees."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ignite_kd.data.file_loader import FileLoader
from ignite_kd.data.order import Order
from ignite_kd.data.randomness import shuffled
from ignite_kd.errors import UserError

__all__ = ["FolderData", "folder_loaders", "folder_to_evaluate"]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FolderData:
    """The loaders of a folder of images; `test` is None where there is no test/: only validation is then reported."""

    train: FileLoader
    validation: FileLoader
    test: FileLoader | None
    classes: tuple[str, ...]
    digest: str
    train_labels: Tensor


def folder_loaders(
    data_dir: str | Path,
    batch_size: int,
    *,
    image_size: int = 32,
    seed: int = 0,
    num_workers: int = 4,
    samples_per_class: int | None = None,
    mean: tuple[float, float, float] = _IMAGENET_MEAN,
    std: tuple[float, float, float] = _IMAGENET_STD,
    rank: int = 0,
    world_size: int = 1,
) -> FolderData:
    """The loaders of `data_dir`/train, /val and, where it is there, /test; each class is a folder of images.

    Args:
        image_size: from 64 on, training crops a random part as for ImageNet; below, it pads by 4 and crops.
        samples_per_class: learn from so many images of each class; fewer are a part of more.
        mean, std: normalisation; ImageNet's where nothing else is given.
    """
    root = Path(data_dir)
    classes = _class_names(root / "train")
    train, validation = _samples(root / "train", classes), _samples(root / "val", classes)
    test = _samples(root / "test", classes) if (root / "test").is_dir() else None
    if samples_per_class is not None:
        train = _subset(train, classes, samples_per_class, seed)

    training, evaluation = _transforms(image_size, mean, std)

    def loader(samples: list[tuple[str, int]], transform: nn.Module, shuffle: bool) -> FileLoader:
        order = Order(len(samples), batch_size, shuffle, seed, rank=rank, world_size=world_size)
        return FileLoader(samples, transform, order, num_workers, image_size)

    return FolderData(
        loader(train, training, shuffle=True),
        loader(validation, evaluation, shuffle=False),
        None if test is None else loader(test, evaluation, shuffle=False),
        tuple(classes),
        _digest(root, train, validation, test or []),
        torch.tensor([label for _, label in train]),
    )


def folder_to_evaluate(
    data_dir: str | Path,
    tree: str,
    batch_size: int,
    *,
    image_size: int = 32,
    num_workers: int = 4,
    mean: tuple[float, float, float] = _IMAGENET_MEAN,
    std: tuple[float, float, float] = _IMAGENET_STD,
) -> tuple[FileLoader, tuple[str, ...], str]:
    """One tree (train, val or test) in order and without augmentation, the classes, and the digest of all trees."""
    root = Path(data_dir)
    classes = _class_names(root / "train")
    trees = {name: _samples(root / name, classes) for name in ("train", "val", "test") if (root / name).is_dir()}
    if tree not in trees:
        raise UserError(f"there is no folder {root / tree}; take another --split, or put <class>/… folders there.")
    _, transform = _transforms(image_size, mean, std)
    loader = FileLoader(trees[tree], transform, Order(len(trees[tree]), batch_size, False), num_workers, image_size)
    return loader, tuple(classes), _digest(root, *(trees.get(name, []) for name in ("train", "val", "test")))


def _transforms(
    size: int, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> tuple[nn.Module, nn.Module]:
    """(for training, for evaluation)."""
    from torchvision.transforms import v2

    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    if size >= 64:
        random, resized = [v2.RandomResizedCrop(size)], round(size * 256 / 224)
    else:
        random, resized = [v2.Resize(size), v2.RandomCrop(size, padding=4)], size
    training = v2.Compose([*random, v2.RandomHorizontalFlip(), *last])
    return training, v2.Compose([v2.Resize(resized), v2.CenterCrop(size), *last])


def _class_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; a data set has train/<class>/… and val/<class>/… in it.")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not classes:
        raise UserError(f"{folder} has no classes; put the images of each class into a folder of its own there.")
    return classes


def _samples(folder: Path, classes: list[str]) -> list[tuple[str, int]]:
    """(file, label) of every image; labels count train's classes, and a class that only train has is no error."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    found = _class_names(folder)
    if strange := [name for name in found if name not in classes]:
        raise UserError(f"{folder} has a class that train lacks: {', '.join(strange)}; name it alike or take it away.")
    labels = {name: classes.index(name) for name in found}
    samples = make_dataset(str(folder), labels, extensions=IMG_EXTENSIONS, allow_empty=True)
    present = {label for _, label in samples}
    for name, label in labels.items():
        if label not in present:
            raise UserError(f"{folder / name} has no image; give it one ({', '.join(IMG_EXTENSIONS)}) or take it away.")
    return samples


def _subset(
    samples: list[tuple[str, int]], classes: list[str], samples_per_class: int, seed: int
) -> list[tuple[str, int]]:
    by_class: list[list[int]] = [[] for _ in classes]
    for i in shuffled(len(samples), seed).tolist():
        by_class[samples[i][1]].append(i)
    for name, members in zip(classes, by_class, strict=True):
        if not 1 <= samples_per_class <= len(members):
            raise UserError(
                f"{samples_per_class} images of each class were asked for; '{name}' allows 1 to {len(members)}."
            )
    return [samples[i] for i in sorted(i for members in by_class for i in members[:samples_per_class])]


def _digest(root: Path, *parts: list[tuple[str, int]]) -> str:
    """Of names, labels and sizes of the files: reading them all could take an hour."""
    sha = hashlib.sha256()
    for samples in parts:
        sha.update(f"{len(samples)}\n".encode())
        for path, label in samples:
            sha.update(f"{Path(path).relative_to(root).as_posix()} {label} {Path(path).stat().st_size}\n".encode())
    return sha.hexdigest()[:16]
