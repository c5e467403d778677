"""The comparison itself: runs and their teachers loaded, measured on the same images, put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ignite_kd import models
from ignite_kd.card_check import allowed
from ignite_kd.cards import accuracy_in
from ignite_kd.comparison.agreement import agreement
from ignite_kd.comparison.calibration import calibration
from ignite_kd.comparison.cka import LinearCKA
from ignite_kd.comparison.held_out import HeldOut, held_out, refuse_other_data
from ignite_kd.comparison.measure import measure
from ignite_kd.comparison.per_class import accuracy_by_class
from ignite_kd.comparison.result import Alignment, Comparison, Recorded, Row
from ignite_kd.comparison.runs import Run, load_run, load_teacher, short_names, teacher_of
from ignite_kd.devices import machine_of, name_of, pick_device
from ignite_kd.errors import UserError
from ignite_kd.recognise import options_of
from ignite_kd.weights import put

__all__ = ["compare"]


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
    runs = _loaded(paths, reference)
    first = next(iter(runs)) if reference is None else _key(reference)
    taught_by, notes = _teachers(runs, teacher)
    everyone = dict(runs)
    for key, (teacher_key, file) in taught_by.items():
        if teacher_key not in everyone:
            everyone[teacher_key] = load_run(file) if teacher is not None else load_teacher(file, runs[key])
    teachers = [run for key, run in everyone.items() if key not in runs]
    refuse_other_data(list(runs.values()), teachers)
    shown = held_out(list(runs.values()), teachers, on, images, data_dir, num_workers, where)
    notes += shown.notes

    same = _twins(everyone)
    networks = {key: (_network(run, shown), run.normalisation) for key, run in everyone.items() if same[key] == key}
    parameters = {key: models.parameters(model) for key, (model, _) in networks.items()}  # before they are frozen
    guides = {key: same[teacher_key] for key, (teacher_key, _) in taught_by.items()}
    partners = {key: guides.get(key, same[first]) for key in runs if key in guides or key != first}
    loaders = {word: shown.loaders[word] for word in {word for _, word in networks.values()}}
    found = measure(networks, {(same[key], other) for key, other in partners.items()}, loaders, where)

    names = dict(zip(everyone, short_names(list(everyone)), strict=True))
    rows = []
    for key, run in runs.items():
        logits, guide, alignment = found.logits[same[key]], guides.get(key), None
        if key in partners:
            alignment = _alignment(names[partners[key]], found.alignments[same[key], partners[key]])
        row = Row(
            name=names[key],
            path=run.path,
            weights=run.weights,
            model=run.model,
            parameters=parameters[same[key]],
            teacher=None if guide is None else names[guide],
            recorded=_recorded(run),
            accuracy=(logits.argmax(1) == found.labels).double().mean().item(),
            by_class=accuracy_by_class(logits, found.labels),
            calibration=calibration(logits, found.labels),
            agreement=None if guide is None else agreement(logits, found.logits[guide], found.labels),
            alignment=alignment,
            curves=run.lines,
        )
        rows.append(row)
        unsure = int((~logits.isfinite().all(1)).sum())
        notes += _remarks(run, row, on, shown, unsure, machine_of(name_of(where)))
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


def _key(path: str) -> str:
    return str(Path(path).resolve())


def _loaded(paths: Sequence[str], reference: str | None) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    if reference is not None and _key(reference) not in map(_key, paths):
        paths = [reference, *paths]
    for path in paths:
        if _key(path) in runs:
            raise UserError(f"{path} was named twice; name each run once.")
        runs[_key(path)] = load_run(path)
    return runs


def _teachers(runs: dict[str, Run], teacher: str | None) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Run → its teacher (key, path), and what is the matter with some of them."""
    found, notes = {}, []
    for key, run in runs.items():
        file, problem = (teacher, None) if teacher is not None else teacher_of(run)
        if file is not None:
            found[key] = _key(file), file
        if problem is not None:
            notes.append(problem)
    some = next(iter(found.values()), None)
    if some is not None:  # who had none is held against it all the same
        found |= {key: some for key, run in runs.items() if not run.is_taught and key not in found}
    return found, notes


def _twins(runs: dict[str, Run]) -> dict[str, str]:
    """Each run → the first one of the same weights: a teacher's run and its file are looked through once."""
    same: dict[str, str] = {}
    for key, run in runs.items():
        same[key] = next((known for known in same.values() if _equal(runs[known], run)), key)
    return same


def _equal(one: Run, other: Run) -> bool:
    a, b = one.content.state, other.content.state
    alike = (one.model, one.normalisation) == (other.model, other.normalisation) and a.keys() == b.keys()
    return alike and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def _alignment(other: str, found: LinearCKA) -> Alignment | None:
    """None where one of the networks gives logits alone."""
    return Alignment(other, found.stages, found.other_stages, found.matrix().tolist()) if found.stages else None


def _network(run: Run, shown: HeldOut) -> nn.Module:
    models.check_name(run.model, shown.image_size)
    options = options_of(run.model, run.known, shown.image_size)
    model = models.build(run.model, num_classes=len(shown.classes), **options)
    put(model, run.content, run.weights)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _recorded(run: Run) -> Recorded:
    return Recorded(
        loss=run.loss,
        epochs=run.epochs,
        planned=run.planned,
        minutes=None if run.seconds is None else run.seconds / 60,
        validation_last=accuracy_in(run.results, "validation", "last"),
        validation_best=accuracy_in(run.results, "validation", "best"),
        test_last=accuracy_in(run.results, "test", "last"),
        test_best=accuracy_in(run.results, "test", "best"),
    )


def _remarks(run: Run, row: Row, on: str, shown: HeldOut, unsure: int, machine: str) -> list[str]:
    found: list[Any] = []
    if unsure:
        images = f"{unsure} of {shown.images} images"
        found.append(f"{row.name} gives logits that are no numbers for {images}; its figures cannot be trusted")
    if run.status not in (None, "finished"):
        found.append(f"{row.name}: {run.status}; its weights are those after {run.epochs} of {run.planned} epochs")
    if run.data_before:
        known = f", of {run.epochs_before} epochs" if run.epochs_before else ""
        found.append(f"{row.name} started from trained weights{known}; its epochs and minutes are those since then")
    claim = accuracy_in(run.results, on, run.which)
    tolerance = allowed(shown.images, alike=run.precision in (None, "fp32") and run.device in (None, machine))
    if run.status in (None, "finished") and claim is not None and shown.images == shown.of:
        whole = on == "test" or run.data.get("split", {}).get("validation") == shown.images
        if whole and abs(claim - row.accuracy) > tolerance:
            found.append(f"{row.name} says {on} accuracy {claim:.2%}, but {row.accuracy:.2%} was measured")
    return found
