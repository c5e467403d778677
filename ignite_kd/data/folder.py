"""One's own images: train/<class>/… and val/<class>/… trees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ignite_kd.data.file_list import FileList
from ignite_kd.data.file_loader import FileLoader
from ignite_kd.data.order import Order
from ignite_kd.data.randomness import shuffled
from ignite_kd.errors import UserError, unknown

__all__ = ["IMAGENET_NORMALISATION", "VIEWS", "FolderData", "folder_loaders", "folder_to_evaluate"]

IMAGENET_NORMALISATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

VIEWS = {
    "usual": "a random part, flipped perhaps; evaluated on the middle, as for ImageNet",
    "squash": "the whole image, squeezed into the square; nothing random",
    "squash-crop": "squeezed into a square an eighth larger, of it a random part, flipped perhaps; evaluated whole",
    "strong": "squash-crop, upside down perhaps, turned by up to 30°, with other brightness, contrast and colours",
}


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
    evaluation_batch_size: int | None = None,
    image_size: int = 32,
    seed: int = 0,
    num_workers: int = 4,
    samples_per_class: int | None = None,
    views: str = "usual",
    mean: tuple[float, float, float] = IMAGENET_NORMALISATION[0],
    std: tuple[float, float, float] = IMAGENET_NORMALISATION[1],
    rank: int = 0,
    world_size: int = 1,
    device: str | torch.device = "cpu",
) -> FolderData:
    """The loaders of `data_dir`/train, /val and, where it is there, /test; each class is a folder of images.

    Args:
        batch_size: the global one, divided among the processes (`Order`).
        evaluation_batch_size: of validation and test; as for training where there is none.
        image_size: from 64 on, training crops a random part as for ImageNet; below, it pads by 4 and crops.
        samples_per_class: learn from so many images of each class; fewer are a part of more.
        views: how images are cut, one of `VIEWS`.
        mean, std: normalisation; ImageNet's where nothing else is given.
        rank, world_size: which of how many processes this is.
        device: where the batches will go; for a GPU they are put into pinned memory.
    """
    root = Path(data_dir)
    classes = _class_names(root / "train")
    if len(classes) == 1:
        raise UserError(f"{root / 'train'} has but one class, {classes[0]}; add the folder of another one.")
    train, validation = _samples(root / "train", classes), _samples(root / "val", classes)
    test = _samples(root / "test", classes) if (root / "test").is_dir() else None
    digest = _digest(train, validation, test)
    if samples_per_class is not None:
        train = _subset(train, classes, samples_per_class)

    training, evaluation = _transforms(image_size, mean, std, views)

    def loader(samples: FileList, transform: nn.Module, size: int, shuffle: bool) -> FileLoader:
        order = Order(len(samples), size, shuffle, seed, rank=rank, world_size=world_size)
        return FileLoader(samples, transform, order, num_workers, image_size, _is_gpu(device))

    size = evaluation_batch_size or batch_size
    return FolderData(
        loader(train, training, batch_size, shuffle=True),
        loader(validation, evaluation, size, shuffle=False),
        None if test is None else loader(test, evaluation, size, shuffle=False),
        tuple(classes),
        digest,
        train.labels,
    )


def folder_to_evaluate(
    data_dir: str | Path,
    tree: str,
    batch_size: int,
    *,
    image_size: int = 32,
    num_workers: int = 4,
    views: str = "usual",
    mean: tuple[float, float, float] = IMAGENET_NORMALISATION[0],
    std: tuple[float, float, float] = IMAGENET_NORMALISATION[1],
    device: str | torch.device = "cpu",
    choose: Callable[[int], Tensor] = torch.arange,
) -> tuple[FileLoader, tuple[str, ...], str]:
    """One tree (train, val or test) without augmentation, the classes, and the digest of all trees.

    `choose` is told how many files the tree has and says which ones come, in which order; without it all, as they lie.
    """
    root = Path(data_dir)
    classes = _class_names(root / "train")
    trees = {name: _samples(root / name, classes) for name in ("train", "val", "test") if (root / name).is_dir()}
    if tree not in trees:
        raise UserError(f"there is no folder {root / tree}; put <class>/… folders there, or ask for other images.")
    _, transform = _transforms(image_size, mean, std, views)
    samples = trees[tree].subset(choose(len(trees[tree])))
    order = Order(len(samples), batch_size, shuffle=False)
    loader = FileLoader(samples, transform, order, num_workers, image_size, _is_gpu(device))
    return loader, tuple(classes), _digest(*(trees.get(name) for name in ("train", "val", "test")))


def _is_gpu(device: str | torch.device) -> bool:
    return torch.device(device).type == "cuda"


def _transforms(
    size: int, mean: tuple[float, float, float], std: tuple[float, float, float], views: str
) -> tuple[nn.Module, nn.Module]:
    """(for training, for evaluation)."""
    from torchvision.transforms import v2

    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    if views not in VIEWS:
        raise unknown("views", views, VIEWS)
    if views != "usual":
        whole, larger = cut_to_evaluate(size, views), v2.Resize((round(size * 256 / 224),) * 2)
        changes = [] if views == "squash" else [larger, v2.RandomCrop(size), v2.RandomHorizontalFlip()]
        if views == "strong":
            changes += [v2.RandomVerticalFlip(), v2.RandomRotation(30), v2.ColorJitter(1.0, 1.0, 1.0, 0.5)]
        return v2.Compose([*(changes or [whole]), *last]), v2.Compose([whole, *last])
    random = [v2.RandomResizedCrop(size)] if size >= 64 else [v2.Resize(size), v2.RandomCrop(size, padding=4)]
    training = v2.Compose([*random, v2.RandomHorizontalFlip(), *last])
    return training, v2.Compose([cut_to_evaluate(size, views), *last])


def cut_to_evaluate(size: int, views: str) -> nn.Module:
    """How an image becomes one of size × size pixels where nothing is left to chance; a mask of it just so."""
    from torchvision.transforms import v2

    if views != "usual":
        return v2.Resize((size, size))
    return v2.Compose([v2.Resize(round(size * 256 / 224) if size >= 64 else size), v2.CenterCrop(size)])


def _class_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; a data set has train/<class>/… and val/<class>/… in it.")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not classes:
        raise UserError(f"{folder} has no classes; put the images of each class into a folder of its own there.")
    return classes


def _samples(folder: Path, classes: list[str]) -> FileList:
    """Every image with its label; labels count train's classes, and a class that only train has is no error."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    found = _class_names(folder)
    if strange := [name for name in found if name not in classes]:
        raise UserError(f"{folder} has a class that train lacks: {', '.join(strange)}; name it alike or take it away.")
    labels = {name: classes.index(name) for name in found}
    samples = FileList.find(folder, labels, IMG_EXTENSIONS)
    present = set(samples.labels.unique().tolist())
    for name, label in labels.items():
        if label not in present:
            raise UserError(f"{folder / name} has no image; give it one ({', '.join(IMG_EXTENSIONS)}) or take it away.")
    return samples


def _subset(samples: FileList, classes: list[str], samples_per_class: int) -> FileList:
    """Always the same ones, whatever the seed of the training."""
    order = shuffled(len(samples), 0)
    counts = samples.labels.bincount(minlength=len(classes))
    by_class = order[samples.labels[order].argsort(stable=True)].split(counts.tolist())
    for name, members in zip(classes, by_class, strict=True):
        if not 1 <= samples_per_class <= len(members):
            raise UserError(
                f"{samples_per_class} images of each class were asked for; '{name}' allows 1 to {len(members)}."
            )
    return samples.subset(torch.cat([members[:samples_per_class] for members in by_class]).sort().values)


def _digest(*parts: FileList | None) -> str:
    """Of names, labels and sizes of the files of train, val and test."""
    sha = hashlib.sha256()
    for samples in parts:
        sha.update(f"{len(samples or ())}\n".encode())
        if samples is not None:
            samples.add_to(sha)
    return sha.hexdigest()[:16]
