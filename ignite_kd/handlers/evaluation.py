"""Accuracy and loss on images that were not learned from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from ignite.metrics import TopKCategoricalAccuracy
from torch import Tensor, nn

from ignite_kd.engines import EvaluationEngine, StudentEngine

__all__ = ["Evaluate", "evaluate"]

_MEASURED = ("accuracy", "top5", "loss")


def evaluate(
    model: nn.Module, loader: Iterable[Any], device: torch.device | str | None = None, precision: str = "fp32"
) -> dict[str, float]:
    """`accuracy`, `top5` and `loss` of a model over a loader; every image counts once, in any number of processes."""
    return _measure(_evaluator(model, device, precision), loader)


class Evaluate:
    """Evaluates the student on `loader` at the end of an epoch: `validation/accuracy`, … in `state.metrics`.

    `best` is the highest accuracy so far and its epoch, the earliest of equals.

    Args:
        loader: what to evaluate on.
        prefix: of the metrics' names.
        every: how many epochs lie between two evaluations; in the others the metrics are not there. The last one has.
    """

    def __init__(self, loader: Iterable[Any], prefix: str = "validation", every: int = 1) -> None:
        self.loader, self.prefix, self.every = loader, prefix, every
        self.best: tuple[float, int] = (-1.0, 0)

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        evaluator = _evaluator(student.model, student.device, student.precision)

        def run(student: StudentEngine) -> None:
            if student.state.epoch % self.every and student.state.epoch != student.state.max_epochs:
                for name in _MEASURED:
                    student.state.metrics.pop(f"{self.prefix}/{name}", None)
                return
            found = _measure(evaluator, self.loader)
            student.state.metrics.update({f"{self.prefix}/{name}": value for name, value in found.items()})
            if found["accuracy"] > self.best[0]:
                self.best = (found["accuracy"], student.state.epoch)

        return student.add_event_handler(Events.EPOCH_COMPLETED, run)

    def state_dict(self) -> dict[str, Any]:
        return {"best": list(self.best)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        accuracy, epoch = state["best"]
        self.best = (float(accuracy), int(epoch))


def _evaluator(model: nn.Module, device: torch.device | str | None, precision: str) -> EvaluationEngine:
    engine = EvaluationEngine(model, device, precision)
    TopKCategoricalAccuracy(5, _at_least_five, device=engine.device).attach(engine, "top5")
    return engine


def _at_least_five(output: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """ignite's metric wants k logits; a class that is not there is never among the first five."""
    logits = output["logits"]
    missing = max(0, 5 - logits.shape[1])
    return nn.functional.pad(logits, (0, missing), value=float("-inf")), output["labels"]


def _measure(engine: EvaluationEngine, loader: Iterable[Any]) -> dict[str, float]:
    metrics = engine.run(loader).metrics
    engine.state.output = engine.state.batch = None  # the last batch's maps would lie there through all training
    return {name: float(metrics[name]) for name in _MEASURED}
