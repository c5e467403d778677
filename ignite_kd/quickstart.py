"""Distillation that can be watched: a teacher, and students of few images alone, with KD and with VID."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ignite_kd import models
from ignite_kd.data import Augmentation, Images, SplitSpec, Stream, shapes, split
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.handlers import EpochMeans, Evaluate, RunRecord, SeedSteps, StepSchedule, evaluate, plots, versions
from ignite_kd.heads import KD, VID, CrossEntropy
from ignite_kd.together import run_together
from ignite_kd.weights import save_weights

__all__ = ["Settings", "quickstart"]


@dataclass(frozen=True)
class Settings:
    """Sizes that show the effect within minutes on two cores; a test makes them smaller."""

    model: str = "wrn_10_1"
    teacher_images: int = 4000
    teacher_epochs: int = 5
    teacher_batch_size: int = 50
    teacher_learning_rate: float = 0.1
    samples_per_class: int = 30
    epochs: int = 25
    batch_size: int = 20
    learning_rate: float = 0.05
    temperature: float = 4.0
    kd_factor: float = 0.3
    vid_factor: float = 3.0
    validation_images: int = 300
    test_images: int = 2000


METHODS = ("alone", "with KD", "with VID")
Lines = list[dict[str, Any]]


def quickstart(
    folder: Path, seeds: Sequence[int], say: Callable[[str], None], settings: Settings | None = None
) -> dict[str, list[float]]:
    """Train, print and save it all in `folder`; returns the test accuracies of each method, one a seed."""
    settings, started = settings or Settings(), time.monotonic()
    data = shapes()
    record = RunRecord(folder)
    record.update(status="running", settings=asdict(settings), seeds=list(seeds), versions=versions())
    if plots.available():
        names = [data.classes[label] for label in data.train.labels[:40]]
        plots.attempt(lambda: plots.plot_images(data.train.images[:40], names, folder / "plots" / "data.png"), say)
    parts = split(data.train.labels, SplitSpec(settings.validation_images))
    validation = _stream(data.train, 100, parts.validation)
    test = _stream(data.test, 500, torch.arange(settings.test_images))
    say(f"data     shapes: ten forms on textured ground, {data.digest()}, generated in {_since(started)}")

    began = time.monotonic()
    shown = parts.train[torch.randperm(len(parts.train), generator=torch.Generator().manual_seed(0))]
    taught = Stream(
        data.train, settings.teacher_batch_size, indices=shown[: settings.teacher_images], **_LEARN, **_FORM
    )
    trained = _engine(settings.model, _TEACHER_SEED, settings.teacher_learning_rate, settings.teacher_epochs)
    CrossEntropy().attach(trained)
    trained.run(taught, max_epochs=settings.teacher_epochs)
    teacher = TeacherEngine(trained.model)
    reached = evaluate(teacher.model, test)["accuracy"]
    save_weights(folder / "teacher.th", teacher.model.state_dict(), _card(settings, reached))
    say(f"teacher  {settings.model} on {settings.teacher_images} images: {reached:.1%} in {_since(began)}")

    learners = f"{len(METHODS)} students at a time, {10 * settings.samples_per_class} images each, one teacher for all"
    say(f"students {settings.model}: {learners}")
    accuracies: dict[str, list[float]] = {method: [] for method in METHODS}
    curves: dict[str, list[Lines]] = {method: [] for method in METHODS}
    for seed in seeds:
        began = time.monotonic()
        few = split(data.train.labels, SplitSpec(settings.validation_images, settings.samples_per_class)).train
        loader = Stream(data.train, settings.batch_size, indices=few, seed=seed, **_LEARN, **_FORM)
        students = {method: _student(method, teacher, seed, settings) for method in METHODS}
        for method, student in students.items():
            EpochMeans().attach(student)
            Evaluate(validation, every=math.ceil(settings.epochs / 5)).attach(student)
            RunRecord(folder / f"{method.replace(' ', '-')}-seed{seed}").attach(student)
        run_together(list(students.values()), loader, settings.epochs)
        for method, student in students.items():
            name = f"{method.replace(' ', '-')}-seed{seed}"
            accuracies[method].append(evaluate(student.model, test)["accuracy"])
            curves[method].append(RunRecord(folder / name).read())
            card = _card(settings, accuracies[method][-1]) | {"seed": seed}
            save_weights(folder / f"{name}.th", student.model.state_dict(), card)
        reached_by = ", ".join(f"{method} {values[-1]:.1%}" for method, values in accuracies.items())
        say(f"seed {seed}   {reached_by} in {_since(began)}")

    table = _table(accuracies, reached, settings)
    say(f"\n{table}")
    if plots.available():
        means = {method: _mean(runs) for method, runs in curves.items()}
        plots.attempt(lambda: plots.plot_curves(means, folder / "plots" / "curves.png"), say)
        say(f"\npictures {folder}/plots")
    else:
        say("\npictures need matplotlib: pip install matplotlib")
    seconds = time.monotonic() - started
    record.update(status="finished", seconds=round(seconds, 1), teacher=reached, accuracies=accuracies, summary=table)
    say(f"folder   {folder}, all in {seconds:.0f} s")
    return accuracies


def _card(settings: Settings, accuracy: float) -> dict[str, Any]:
    return {
        "model": settings.model,
        "num_classes": 10,
        "dataset": "shapes",
        "accuracy": accuracy,
        "versions": versions(),
    }


_TEACHER_SEED = 1000  # of no student: one that began with its teacher's first weights would have it easier
_FORM: dict[str, Any] = {  # channels_last makes these convolutions 1.5 times as fast on a CPU
    "mean": (0.5, 0.5, 0.5), "std": (0.277, 0.277, 0.277), "memory_format": torch.channels_last
}  # fmt: skip
_LEARN: dict[str, Any] = {"shuffle": True, "augmentation": Augmentation()}


def _stream(images: Images, batch_size: int, indices: torch.Tensor) -> Stream:
    return Stream(images, batch_size, indices=indices, shuffle=False, augmentation=None, **_FORM)


def _engine(name: str, seed: int, learning_rate: float, epochs: int) -> StudentEngine:
    torch.manual_seed(seed)
    model = models.build(name, num_classes=10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    engine = StudentEngine(model, optimizer)
    SeedSteps(seed).attach(engine)
    StepSchedule(learning_rate, (epochs * 6 // 10, epochs * 85 // 100), 0.2).attach(engine)
    return engine


def _student(method: str, teacher: TeacherEngine, seed: int, settings: Settings) -> StudentEngine:
    student = _engine(settings.model, seed, settings.learning_rate, settings.epochs)
    CrossEntropy().attach(student)
    if method != "alone":
        teacher.attach(student)
    if method == "with KD":
        KD(settings.temperature).attach(student, factor=settings.kd_factor)
    if method == "with VID":
        VID.for_models(student.model, teacher.model).attach(student, factor=settings.vid_factor)
    return student


def _table(accuracies: Mapping[str, list[float]], teacher: float, settings: Settings) -> str:
    seeds = len(accuracies["alone"])
    lines = [
        f"test accuracy in %, {settings.samples_per_class} images a class, mean ± std of {seeds} seeds, last epoch"
    ]
    alone = statistics.mean(accuracies["alone"])
    for method, values in accuracies.items():
        mean = statistics.mean(values)
        spread = f"{100 * statistics.stdev(values):4.1f}" if seeds > 1 else " n/a"
        gain = "" if method == "alone" else f"   {100 * (mean - alone):+5.1f}"
        lines.append(f"  {method:<10}{100 * mean:5.1f} ±{spread}{gain}")
    lines.append(f"  {'teacher':<10}{100 * teacher:5.1f}           (learned from {settings.teacher_images} images)")
    return "\n".join(lines)


def _mean(runs: Sequence[Lines]) -> Lines:
    """The mean over the seeds, epoch by epoch."""
    return [
        {key: statistics.mean(line[key] for line in epoch) for key in epoch[0]} for epoch in zip(*runs, strict=True)
    ]


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"
