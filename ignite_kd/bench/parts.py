"""Where the time of a step goes, each part beside the time that its products alone would take."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ignite_kd import models
from ignite_kd.bench.heads import leaves, work_of
from ignite_kd.bench.images import random_images
from ignite_kd.bench.package_loop import Endless, PackageLoop
from ignite_kd.bench.timing import Timing, alternate, summary
from ignite_kd.optimizer import sgd
from ignite_kd.plan import Plan
from ignite_kd.recipes import get
from ignite_kd.representation import Batch, Representation, represent
from ignite_kd.terms import Term

__all__ = ["Part", "engine_overhead", "measure_parts", "step_flops"]


@dataclass(frozen=True)
class Part:
    """One part of a step; `limit` is what its products take at the machine's own rate, where it is made of products."""

    name: str
    seconds: float
    spread: float
    flops: int = 0
    limit: float | None = None


def step_flops(loop: PackageLoop, image_size: int) -> dict[str, int]:
    """Additions and multiplications of a step of one student, by part: a backward pass is two forward ones.

    Those of convolutions and matrix products; the heads' are counted in a forward pass from features of one batch.
    """
    student, plan, batch = loop.students[0], loop.session.plan, _batch(loop)
    # of fresh networks: compiled ones cannot be looked into
    for_teacher, for_student = (
        models.macs(loop.session.build_model(str(name)), image_size) for name in (plan.teacher, plan.student)
    )
    seen, shown = _seen(loop, batch)
    with torch.no_grad(), student._autocast():
        for_heads = sum(models.products(partial(head, seen, shown, batch)) for head in student.heads.values())
    count = len(batch.labels)
    return {
        "teacher forward": 2 * count * for_teacher,
        "student forward and backward": 3 * 2 * count * for_student,
        "heads": 3 * 2 * for_heads,
    }


def measure_parts(loop: PackageLoop, flops: dict[str, int], rate: float | None, rounds: int) -> list[Part]:
    """The parts of a step of one student, each alone and in turns, on a batch that is there already.

    To be called last: the student's gradients, statistics and momenta are not those of a training afterwards.
    """
    student, teacher, device = loop.students[0], loop.teacher, loop.device
    batch, more = _batch(loop), iter(Endless(copy.copy(loop.stream)))
    seen, shown = _seen(loop, batch)
    heads = [work_of(head, seen, shown, batch, student.terms[name]) for name, head in student.heads.items()]

    def learn() -> None:
        with student._autocast():
            logits = student.network(batch.images).logits
        student.optimizer.zero_grad(set_to_none=True)
        logits.sum().backward()

    def compare() -> None:
        with student._autocast():
            for work in heads:
                work()

    for work in (compare, learn):  # every parameter has a gradient before the optimizer is asked
        work()
    for group in student.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [(p, p.grad) for group in student.optimizer.param_groups for p in group["params"]]

    def descend() -> None:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        student.optimizer.step()

    works: dict[str, Callable[[], object]] = {
        "data": lambda: next(more),
        "teacher forward": lambda: teacher.represent(batch.images),
        "student forward and backward": learn,
        "heads": compare,
        "optimizer": descend,
    }
    parts = []
    for name, seconds in alternate(works, rounds, device).items():
        timing, own = summary(seconds), flops.get(name, 0)
        parts.append(Part(name, timing.median, timing.spread, own, own / rate if own and rate else None))
    return parts


def engine_overhead(device: str, rounds: int = 9, steps: int = 100) -> Timing:
    """Seconds that a step through a session's engine takes over the same step in a bare loop.

    Events, metrics, the check for NaN, checkpoints, schedule: measured where they are not lost in the network's own
    time, with two perceptrons of 8 units that see 8 images, cross-entropy and KD.
    """
    dataset = random_images("cifar10", 10, train=640, test=64)
    with tempfile.TemporaryDirectory() as folder, _threads(1):
        weights = Path(folder) / "teacher.th"
        torch.save(models.build("mlp_8", 10).state_dict(), weights)
        plan = Plan(
            student="mlp_8",
            teacher="mlp_8",
            teacher_path=str(weights),
            terms=(Term("ce"), Term("kd", 1.0, {"temperature": 2.0})),
            recipe=replace(get("vid"), batch_size=8),
            device=device,
            compile="off",
            output_dir=str(Path(folder) / "run"),
        )
        loop = PackageLoop(plan, dataset=dataset)
        try:
            bare = _bare_loop(loop, plan)
            works = {"bare": lambda: bare(steps), "engine": lambda: loop.run(steps)}
            seconds = alternate(works, rounds, loop.device)
        finally:
            loop.close()
    over = [(engine - alone) / steps for alone, engine in zip(seconds["bare"], seconds["engine"], strict=True)]
    return summary(over)


def _bare_loop(loop: PackageLoop, plan: Plan) -> Callable[[int], None]:
    """The same networks, heads, descent and batches, without an engine."""
    student, teacher = copy.deepcopy(loop.students[0].model), loop.teacher.model
    terms = [(loop.students[0].factors[name], head) for name, head in loop.students[0].heads.items()]
    optimizer = sgd(plan.recipe, student.parameters(), plan.recipe.learning_rate)
    batches = iter(Endless(copy.copy(loop.stream)))

    def run(steps: int) -> None:
        for _ in range(steps):
            batch = next(batches)
            with torch.no_grad():
                shown = represent(teacher, batch.images)
            seen = represent(student, batch.images)
            optimizer.zero_grad(set_to_none=True)
            torch.stack([factor * head(seen, shown, batch) for factor, head in terms]).sum().backward()
            optimizer.step()

    return run


def _batch(loop: PackageLoop) -> Batch:
    return next(iter(copy.copy(loop.stream))).to(loop.device)


def _seen(loop: PackageLoop, batch: Batch) -> tuple[Representation, Representation]:
    """What student and teacher say about a batch; the student's features are cut off from it."""
    student = loop.students[0]
    with student._autocast():
        return leaves(student.model, batch.images), loop.teacher.represent(batch.images)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Of tiny tensors: more threads than one only wait for each other, in both loops."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
