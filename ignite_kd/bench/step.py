"""A training step of this package beside one of the released code, in one process and in turns."""

from __future__ import annotations

import contextlib
import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd import heads, models
from ignite_kd.bench import machine
from ignite_kd.bench.images import images_for
from ignite_kd.bench.memory import peak_of, resident_peak_of
from ignite_kd.bench.package_loop import Endless, PackageLoop
from ignite_kd.bench.parts import Part, engine_overhead, measure_parts, step_flops
from ignite_kd.bench.plain_loop import PlainLoop, picture_loader
from ignite_kd.bench.timing import Timing, alternate, summary, timed
from ignite_kd.data.dataset import Dataset
from ignite_kd.devices import pick_device
from ignite_kd.losses import build_head
from ignite_kd.plan import Plan
from ignite_kd.recipes import get
from ignite_kd.terms import Term

__all__ = ["RELEASED", "Classroom", "DataPath", "Report", "bench_step"]

RELEASED = (Term("ce"), Term("kd", 1.0, {"temperature": 2.0}), Term("vid", 0.1))
_MIB = 2**20
_PREFETCHED = 2  # batches that a DataLoader's worker has ready


@dataclass(frozen=True)
class Classroom:
    """Steps of so many students; `ratio` is the plain loop's time over this one's time for one of them."""

    students: int
    seconds: float  # for all of them
    spread: float
    ratio: float
    first: float  # seconds of the very first step, in which networks are compiled, where they are
    share: float | None  # of the machine's matrix rate
    mebibytes: float | None  # that a step adds at its peak


@dataclass(frozen=True)
class DataPath:
    """Images a second that come out of a loader when nothing else is done, on the device."""

    stream: float
    pictures: float
    ratio: float


@dataclass(frozen=True)
class Report:
    """Everything that was measured; seconds, images a second, additions and multiplications a second."""

    task: dict[str, Any]
    machine: dict[str, Any]
    plain: Timing
    plain_mebibytes: float
    borrowed: list[str]  # terms for which the plain loop has this package's heads
    classrooms: list[Classroom]
    data: DataPath
    rates: dict[str, float]
    format: str  # of the networks' products: a key of `rates`, where it could be measured
    flops: dict[str, int]  # of a step of one student
    parts: list[Part]
    overhead: Timing  # of a step of the engine over a bare one
    build: float  # of a session
    start_up: float  # until its first step could begin, with a look at how good the teacher is
    compilation: float | None
    help: float


def bench_step(
    student: str = "wrn_16_1",
    teacher: str = "wrn_40_2",
    terms: Sequence[Term] = (),
    dataset: str = "cifar10",
    data_dir: str = "./data/",
    batch_size: int = 128,
    precision: str = "fp32",
    compile: str = "auto",
    students: Sequence[int] = (1, 2, 4, 8),
    workers: int = 2,
    rounds: int = 5,
    steps: int | None = None,
    device: str = "auto",
) -> Report:
    """Measure; nothing is chosen by what was measured. The teacher has random weights: speed does not depend on them.

    Args:
        compile: `on`, `off`, or `auto` as a training of 200 epochs decides it.
        terms: cross-entropy, KD with temperature 2 and 0.1 VID where none are given, as in the released code; other
            terms than these are this package's heads in the plain loop too.
        steps: of each loop in a round; by default 3, on a GPU 100. A round begins with two batches a worker ready, so
            very few steps flatter a plain loop that waits for its loader.
    """
    place = pick_device(device)
    terms = [term for term in terms if term.factor] or RELEASED
    for term in terms:
        heads.kind(term.method)
    for name in (student, teacher):  # a wrong name is refused before any image is read
        models.build(name, 10, **models.size_options(name, 32))
    steps = steps or (100 if place.type == "cuda" else 3)
    images, source = images_for(dataset, data_dir)
    size, classes = images.train.images.shape[-1], images.num_classes
    own, shown = _networks(student, teacher, classes, images)
    recipe = replace(get("vid"), batch_size=batch_size)

    def borrow(term: Term) -> nn.Module:
        return build_head(term, recipe, plain_student, plain_teacher, images.train.labels, size)

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        weights = Path(folder) / "teacher.th"
        torch.save(shown.state_dict(), weights)
        plan = Plan(
            student=student, teacher=teacher, teacher_path=str(weights), terms=tuple(terms), recipe=recipe,
            dataset=dataset, data_dir=data_dir, precision=precision, compile=compile, device=device,
        )  # fmt: skip
        loops: dict[int, PackageLoop] = {}
        # real files are read by the first session itself: that is a part of its start
        given, one = images if source != "real" else None, None
        for count in students:
            loops[count] = PackageLoop(replace(plan, output_dir=f"{folder}/run-{count}"), count, given, beside=one)
            one = one or loops[count]
            ends.callback(loops[count].close)
        plain_student, plain_teacher = own.to(place), copy.deepcopy(shown).to(place)
        pictures = picture_loader(images, batch_size, workers, pin_memory=place.type == "cuda")
        plain = PlainLoop(plain_student, plain_teacher, terms, pictures, place, borrow)
        ends.callback(plain.close)

        works: dict[str, Callable[[], object]] = {"plain": partial(plain.run, steps)}
        works |= {str(count): partial(loop.run, steps) for count, loop in loops.items()}
        products = {kind: machine.products(place, kind) for kind in machine.formats(place)}
        works |= {kind: product for kind, (product, _) in products.items()}
        for product, _ in products.values():
            product()
        plain.run(2)
        first = {count: timed(partial(loop.run, 1), place) for count, loop in loops.items()}
        for loop in loops.values():
            loop.run(1)
        pause = 0.2 if workers else 0.0
        seconds = alternate(works, rounds, place, warm_up=0, pause=pause)
        timings = {name: summary([spent / steps for spent in found]) for name, found in seconds.items()}
        rates = {kind: count / summary(seconds[kind]).median for kind, (_, count) in products.items()}
        kind = machine.number_format(precision, place)
        assert one is not None
        compiled = one.session.compiled
        flops = step_flops(one, size)
        classrooms = []
        for count, loop in loops.items():
            timing = timings[str(count)]
            done = flops["teacher forward"] + count * (sum(flops.values()) - flops["teacher forward"])
            share = done / timing.median / rates[kind] if kind in rates else None
            hidden = compiled and place.type == "cpu"  # the operations inside a compiled network
            found = resident_peak_of(partial(loop.run, 1)) if hidden else peak_of(partial(loop.run, 1), place)
            peak = None if found is None else found / _MIB
            ratio = timings["plain"].median / (timing.median / count)
            classrooms.append(Classroom(count, timing.median, timing.spread, ratio, first[count], share, peak))
        plain_peak = peak_of(partial(plain.run, 1), place) / _MIB
        data_path = _data_path(one, pictures, workers, rounds)
        parts = measure_parts(one, flops, rates.get(kind), rounds)

    return Report(
        task={
            "student": student, "teacher": teacher, "loss": [_word(term) for term in terms], "dataset": dataset,
            "images": source, "batch_size": batch_size, "precision": precision, "compile": compile,
            "compiled": compiled, "workers": workers, "rounds": rounds, "steps": steps,
        },
        machine=machine.describe(place),
        plain=timings["plain"],
        plain_mebibytes=plain_peak,
        borrowed=plain.borrowed,
        classrooms=classrooms,
        data=data_path,
        rates=rates,
        format=kind,
        flops=flops,
        parts=parts,
        overhead=engine_overhead(device),
        build=one.build,
        start_up=one.start_up,
        compilation=classrooms[0].first - classrooms[0].seconds if compiled else None,
        help=machine.help_seconds(),
    )  # fmt: skip


def _networks(student: str, teacher: str, classes: int, images: Dataset) -> tuple[nn.Module, nn.Module]:
    """Student and teacher with random weights of one seed.

    The teacher's batch norms know their statistics: else numbers grow from block to block, and no student could learn
    from what comes out.
    """
    size = images.train.images.shape[-1]
    torch.manual_seed(0)
    shown, own = (models.build(name, classes, **models.size_options(name, size)) for name in (teacher, student))
    some = images.train.images[:64].float().div(255).sub(0.5).div(0.29)
    norms = [module for module in shown.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        shown.train()(some)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    return own, shown


def _data_path(loop: PackageLoop, pictures: Any, workers: int, rounds: int, batches: int = 8) -> DataPath:
    """The stream of a session and the released code's loader, each to the device and in turns."""
    device = loop.device
    ours, theirs = iter(Endless(copy.copy(loop.stream))), iter(pictures)

    def move(batch: Any) -> Tensor:
        return batch[0].to(device)

    def steady() -> None:
        """What a loader's processes had ready costs nothing, so it is taken first."""
        for _ in range(_PREFETCHED * workers):
            move(next(theirs))

    works: dict[str, Callable[[], object]] = {
        "rest": lambda: time.sleep(0.5),  # until the processes have filled their queue
        "stream": lambda: [move(next(ours)) for _ in range(batches)],
        "steady": steady,
        "pictures": lambda: [move(next(theirs)) for _ in range(batches)],
    }
    seconds = alternate(works, rounds, device)
    size = len(next(ours).labels) * batches
    rate = {name: size / summary(found).median for name, found in seconds.items()}
    return DataPath(rate["stream"], rate["pictures"], rate["stream"] / rate["pictures"])


def _word(term: Term) -> str:
    return ",".join([f"{term.method}:{term.factor:g}", *(f"{name}={value}" for name, value in term.options.items())])
