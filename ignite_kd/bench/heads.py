"""What each head costs beside the student's own step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd import heads, models
from ignite_kd.bench.memory import PeakMemory
from ignite_kd.bench.timing import alternate, summary
from ignite_kd.errors import UserError
from ignite_kd.losses import build_head
from ignite_kd.recipes import crd, get
from ignite_kd.representation import Batch, Features, Representation, represent
from ignite_kd.terms import Term

__all__ = ["Cost", "bench_heads", "leaves", "work_of"]

_IMAGES = 50_000  # of CIFAR-100: CRD's banks have a row for each


@dataclass(frozen=True)
class Cost:
    """Forward and backward of one head, from features that are there already; `share` is of the student's step."""

    name: str
    seconds: float = 0.0
    spread: float = 0.0  # between the quartiles
    share: float = 0.0
    megabytes: float = 0.0
    refused: str = ""


def bench_heads(
    teacher: str, student: str, batch_size: int, rounds: int, device: str, names: Iterable[str] = ()
) -> tuple[Cost, list[Cost]]:
    """The student's own step (forward, cross-entropy, backward), and each head's cost, in alternating rounds."""
    torch.manual_seed(0)
    # maps lie as in a training
    own, shown = (models.build(name, 100).to(device, memory_format=torch.channels_last) for name in (student, teacher))  # type: ignore[call-overload]
    shown.eval().requires_grad_(False)
    images = torch.randn(batch_size, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.arange(_IMAGES) % 100
    indices = torch.randperm(_IMAGES)[:batch_size]
    batch = Batch(images, labels[indices].to(device), indices.to(device))
    with torch.no_grad():
        taught = represent(shown, images)
    seen = leaves(own, images)

    def step() -> None:
        own.zero_grad(set_to_none=True)
        F.cross_entropy(own(images), batch.labels).backward()

    works: dict[str, Callable[[], None]] = {student: step}
    refused = []
    for name in names or [name for name in heads.names() if name != "ce"]:
        term = crd.terms(name, teacher, student)[1] if name in crd.methods() else Term(name)
        try:
            head = build_head(Term(name, options=term.options), get("crd"), own, shown, labels, 32).to(device)
        except UserError as error:
            refused.append(Cost(name, refused=str(error)))
            continue
        works[name] = work_of(head, seen, taught, batch, term=head)

    timings = {name: summary(seconds) for name, seconds in alternate(works, rounds, device).items()}
    base = timings[student].median
    costs = []
    for name, work in works.items():
        with PeakMemory() as memory:
            work()
        median, spread = timings[name].median, timings[name].spread
        costs.append(Cost(name, median, spread, median / base, memory.peak / 2**20))
    return costs[0], sorted(costs[1:], key=lambda cost: cost.seconds) + refused


def work_of(
    head: nn.Module, student: Representation, teacher: Representation, batch: Batch, term: Callable[..., Tensor]
) -> Callable[[], None]:
    """Forward and backward of one head, from features that are there already; `term` is how it is called."""
    given = [t for t in (student.logits, student.pooled, *student.features.values()) if t is not None]
    given += student.before_relu.values()

    def work() -> None:
        for tensor in given:
            tensor.grad = None
        head.zero_grad(set_to_none=True)
        term(student, teacher, batch).backward()

    return work


def leaves(model: nn.Module, images: Tensor) -> Representation:
    """What the student says, cut off from it, so that a backward pass ends there."""
    with torch.no_grad():
        seen = represent(model, images)

    def cut(tensors: Any) -> Features:
        return Features({stage: tensor.detach().requires_grad_() for stage, tensor in tensors.items()})

    pooled = None if seen.pooled is None else seen.pooled.detach().requires_grad_()
    return Representation(seen.logits.detach().requires_grad_(), cut(seen.features), cut(seen.before_relu), pooled)
