"""The images that runs are compared on: none of them learned from any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ignite_kd import data
from ignite_kd.comparison.runs import Run
from ignite_kd.data.folder import folder_to_evaluate
from ignite_kd.data.randomness import shuffled
from ignite_kd.data.split import Split
from ignite_kd.errors import UserError
from ignite_kd.loaders import normalisation

__all__ = ["HeldOut", "held_out", "refuse_other_data"]

_BATCH = 256


@dataclass(frozen=True)
class HeldOut:
    """The same images in the same random order from every loader, in batches, each normalised as its key says."""

    loaders: dict[str, Iterable[Any]]
    images: int
    of: int
    classes: tuple[str, ...]
    image_size: int
    dataset: str
    digest: str
    notes: tuple[str, ...] = ()


def refuse_other_data(runs: Sequence[Run], teachers: Sequence[Run]) -> None:
    """What is compared must have learned the same classes from the same data; who says nothing of it is believed."""
    _refuse([*runs, *teachers], "data set", lambda run: run.dataset)
    _refuse([*runs, *teachers], "number of classes", lambda run: run.data.get("classes"))
    _refuse(runs, "content of the data set", lambda run: run.data.get("digest"))
    _refuse(runs, "image size", lambda run: run.image_size if run.dataset == "folder" else None)
    _refuse(runs, "way to cut images", lambda run: run.views if run.dataset == "folder" else None)


def _refuse(runs: Sequence[Run], what: str, of: Callable[[Run], Any]) -> None:
    told = [(run.path, of(run)) for run in runs if of(run) is not None]
    for path, value in told[1:]:
        if value != told[0][1]:
            raise UserError(
                f"runs must share the {what}, but {told[0][0]} has {told[0][1]} and {path} has {value}; "
                "compare them apart."
            )


def held_out(
    runs: Sequence[Run],
    teachers: Sequence[Run],
    part: str,
    images: int | None,
    data_dir: str | None,
    num_workers: int,
    device: torch.device,
) -> HeldOut:
    """The test set, or the validation images that all runs kept apart; `images` takes so many of them at random."""
    name = next((run.dataset for run in runs if run.dataset), None)
    if name is None:
        raise UserError("neither record nor card of any run says which data set it learned; add a run that has one.")
    where = data_dir or next((run.data_dir for run in runs if run.data_dir), "./data/")
    if name == "folder":
        return _of_folder(runs, teachers, part, images, where, num_workers, device)
    dataset = data.load(name, where)
    digest, labels = dataset.digest(), dataset.train.labels
    if part == "test":
        source, kept, notes = dataset.test, torch.arange(len(dataset.test)), _other_data(runs, teachers, digest)
    else:
        source, kept = dataset.train, _kept_apart(runs, digest, labels)
        notes = tuple(filter(None, (_seen(teacher, kept, digest, labels) for teacher in teachers)))
    loaders: dict[str, Iterable[Any]] = {}
    for word in {run.normalisation for run in (*runs, *teachers)}:
        mean, std = normalisation(name, word)
        loaders[word] = data.Stream(
            source, _BATCH, mean=mean, std=std, indices=kept[_some(len(kept), images)], augmentation=None,
            shuffle=False, device=device, memory_format=torch.channels_last,
        )  # fmt: skip
    shown = min(images or len(kept), len(kept))
    edge = source.images.shape[-1]
    return HeldOut(loaders, shown, len(kept), dataset.classes, edge, name, digest, notes)


def _of_folder(
    runs: Sequence[Run],
    teachers: Sequence[Run],
    part: str,
    images: int | None,
    data_dir: str,
    num_workers: int,
    device: torch.device,
) -> HeldOut:
    size = next((run.image_size for run in runs if run.image_size), 32)
    there = []

    def choose(n: int) -> Tensor:
        there.append(n)
        return _some(n, images)

    files, classes, digest = folder_to_evaluate(
        data_dir, "val" if part == "validation" else part, _BATCH, image_size=size, num_workers=num_workers,
        device=device, choose=choose, views=next((run.views for run in runs if run.dataset == "folder"), "usual"),
    )  # fmt: skip
    shown = len(files.samples)
    return HeldOut(
        {"dataset": files}, shown, there[0], classes, size, "folder", digest, _other_data(runs, teachers, digest)
    )


def _some(n: int, images: int | None) -> Tensor:
    """Positions of so many of n, at random but always the same; in random order, as what looks at batches needs it."""
    return shuffled(n, 0)[:images]


def _kept_apart(runs: Sequence[Run], digest: str, labels: Tensor) -> Tensor:
    """The images of the training set that validated every one of the runs."""
    kept = torch.arange(len(labels))
    for run in runs:
        for generation, known in enumerate((run.data, *run.data_before)):
            split = _split(known, digest, labels)
            if split is None:
                who = run.path if generation == 0 else f"what {run.path} started from"
                raise UserError(f"{who} does not say which images of this data it kept apart; take --on test.")
            kept = kept[torch.isin(kept, split.validation)]
    if not len(kept):
        raise UserError("there is no image that all of these runs kept apart for validation; take --on test.")
    return kept


def _seen(teacher: Run, kept: Tensor, digest: str, labels: Tensor) -> str | None:
    seen = torch.zeros(len(kept), dtype=torch.bool)
    for known in (teacher.data, *teacher.data_before):
        split = _split(known, digest, labels)
        if split is None:
            return f"nothing says which images {teacher.path} learned from; where it has seen these, they flatter it"
        seen |= torch.isin(kept, split.train)
    number = int(seen.sum())
    return f"{teacher.path} learned from {number} of the {len(kept)} images, which flatter it" if number else None


def _split(known: dict[str, Any], digest: str, labels: Tensor) -> Split | None:
    """Which images were learned from and kept apart; None where nobody says it of this data."""
    told = known.get("split")
    return Split.from_json(told, labels) if isinstance(told, dict) and known.get("digest") == digest else None


def _other_data(runs: Sequence[Run], teachers: Sequence[Run], digest: str) -> tuple[str, ...]:
    told = next((run.data["digest"] for run in runs if run.data.get("digest")), digest)
    notes = [] if told == digest else [f"the runs learned from other data under this name ({told}, here {digest})"]
    others = [teacher for teacher in teachers if teacher.data.get("digest") not in (None, told)]
    notes += [f"{other.path} learned from other data than its students; its classes may be others" for other in others]
    return tuple(notes)
