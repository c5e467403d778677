"""The comparison itself: runs and their teachers loaded, measured on the same images, put side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ignite_kd import models
from ignite_kd.comparison.agreement import agreement
from ignite_kd.comparison.calibration import calibration
from ignite_kd.comparison.held_out import HeldOut, held_out, refuse_other_data
from ignite_kd.comparison.measure import measure
from ignite_kd.comparison.per_class import accuracy_by_class
from ignite_kd.comparison.report import Alignment, Comparison, Recorded, Row
from ignite_kd.comparison.runs import Run, load_run, short_names, teacher_of
from ignite_kd.devices import pick_device
from ignite_kd.errors import UserError
from ignite_kd.recognise import options_of
from ignite_kd.weights import put

__all__ = ["compare"]

_ROUNDING = 5e-4  # of an accuracy: another device decides the odd image otherwise


def compare(
    paths: Sequence[str],
    *,
    reference: str | None = None,
    teacher: str | None = None,
    on: str = "test",
    images: int | None = None,
    data_dir: str | None = None,
    num_workers: int = 4,
    device: str = "auto",
) -> Comparison:
    """Put runs side by side: folders of runs, or files of weights with their cards.

    Args:
        reference: the run that the others' differences are counted from; the first one where none is named.
        teacher: of all runs, instead of the one that each run's record names.
        on: `test`, or `validation`: the images that all runs kept apart.
        images: take so many of them, at random but always the same.
        data_dir: where the data is; where the runs' was by default.
    """
    where = pick_device(device)
    paths = list(paths)
    if reference is not None and Path(reference).resolve() not in (Path(path).resolve() for path in paths):
        paths.insert(0, reference)
    runs, notes = _loaded(paths), []
    first = next(path for path in paths if reference is None or Path(path).resolve() == Path(reference).resolve())
    taught_by: dict[str, str] = {}
    for path, run in runs.items():
        file, problem = (teacher, None) if teacher is not None else teacher_of(run)
        if file is not None:
            taught_by[path] = file
        if problem is not None:
            notes.append(problem)
    some = next(iter(taught_by.values()), None)
    if some is not None:  # who had none is held against it all the same
        taught_by |= {path: some for path, run in runs.items() if run.teacher is None and path not in taught_by}

    everyone = dict(runs)
    for file in dict.fromkeys(taught_by.values()):
        if all(Path(file).resolve() != Path(path).resolve() for path in everyone):
            everyone[file] = load_run(file)
    teachers = [run for path, run in everyone.items() if path not in runs]
    refuse_other_data(list(runs.values()), teachers)
    shown = held_out(list(runs.values()), teachers, on, images, data_dir, num_workers, where)
    notes += shown.notes
    same = _twins(everyone)
    networks = {path: (_network(run, shown), run.normalisation) for path, run in everyone.items() if same[path] == path}
    taught_by = {path: same[_key(file, everyone)] for path, file in taught_by.items()}
    partners = {path: taught_by.get(path, same[first]) for path in runs if path in taught_by or path != first}

    sizes = {path: models.parameters(model) for path, (model, _) in networks.items()}  # before they are frozen
    loaders = {word: shown.loaders[word] for word in {word for _, word in networks.values()}}
    found = measure(networks, {(same[path], other) for path, other in partners.items()}, loaders, where)
    names = dict(zip(everyone, short_names(list(everyone)), strict=True))
    rows = []
    for path, run in runs.items():
        logits = found.logits[same[path]]
        guide = taught_by.get(path)
        aligned = found.alignments[same[path], partners[path]] if path in partners else None
        rows.append(
            Row(
                name=names[path],
                path=path,
                weights=run.weights,
                model=run.model,
                parameters=sizes[same[path]],
                teacher=None if guide is None else names[guide],
                recorded=_recorded(run),
                accuracy=(logits.argmax(1) == found.labels).double().mean().item(),
                by_class=accuracy_by_class(logits, found.labels),
                calibration=calibration(logits, found.labels),
                agreement=None if guide is None else agreement(logits, found.logits[guide], found.labels),
                alignment=None
                if aligned is None or not aligned.stages
                else Alignment(names[partners[path]], aligned.stages, aligned.other_stages, aligned.matrix().tolist()),
                curves=run.lines,
            )
        )
        notes += _remarks(run, rows[-1], on, shown)
    return Comparison(
        dataset=shown.dataset,
        digest=shown.digest,
        part=on,
        images=shown.images,
        of=shown.of,
        classes=shown.classes,
        images_by_class=found.labels.bincount(minlength=len(shown.classes)).tolist(),
        reference=names[first],
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _loaded(paths: Sequence[str]) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for path in paths:
        if any(Path(path).resolve() == Path(known).resolve() for known in runs):
            raise UserError(f"{path} was named twice; name each run once.")
        runs[path] = load_run(path)
    return runs


def _key(file: str, everyone: dict[str, Run]) -> str:
    return next(path for path in everyone if Path(path).resolve() == Path(file).resolve())


def _twins(runs: dict[str, Run]) -> dict[str, str]:
    """Each run's path → the first one with the same weights: a teacher's run and its file are looked through once."""
    same: dict[str, str] = {}
    for path, run in runs.items():
        same[path] = next((known for known in same.values() if _equal(runs[known], run)), path)
    return same


def _equal(one: Run, other: Run) -> bool:
    a, b = one.content.state, other.content.state
    alike = (one.model, one.normalisation) == (other.model, other.normalisation) and a.keys() == b.keys()
    return alike and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def _network(run: Run, shown: HeldOut) -> nn.Module:
    options = options_of(run.model, run.known, shown.image_size)
    model = models.build(run.model, num_classes=len(shown.classes), **options)
    put(model, run.content, run.weights)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _recorded(run: Run) -> Recorded:
    def of(part: str, which: str) -> float | None:
        value = (run.results.get(part) or {}).get(which)
        value = value.get("accuracy") if isinstance(value, dict) else value
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None

    return Recorded(
        loss=run.loss,
        epochs=run.epochs,
        planned=run.planned,
        minutes=None if run.seconds is None else run.seconds / 60,
        validation_last=of("validation", "last"),
        validation_best=of("validation", "best"),
        test_last=of("test", "last"),
        test_best=of("test", "best"),
    )


def _remarks(run: Run, row: Row, on: str, shown: HeldOut) -> list[str]:
    found: list[Any] = []
    if run.status not in (None, "finished"):
        found.append(f"{row.name} is {run.status}: its weights are those after {run.epochs} of {run.planned} epochs")
    claim = row.recorded.test_last if on == "test" else row.recorded.validation_last
    if run.status in (None, "finished") and claim is not None and shown.images == shown.of:
        whole = on == "test" or run.data.get("split", {}).get("validation") == shown.images
        if whole and abs(claim - row.accuracy) > _ROUNDING:
            found.append(f"{row.name} says {on} accuracy {claim:.2%}, but {row.accuracy:.2%} was measured")
    return found
