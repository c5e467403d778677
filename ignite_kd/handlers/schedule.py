"""The learning rate as a function of how far the training is, so that a resumed run needs nothing remembered.

The one exception is `Plateau`, which looks at what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ignite_kd.engines import StudentEngine
from ignite_kd.recipes.base import Recipe

__all__ = ["LogSpace", "OneCycle", "Plateau", "StepSchedule", "schedule_of"]


def schedule_of(recipe: Recipe, learning_rate: float, epochs: int) -> StepSchedule | LogSpace | OneCycle | None:
    """The one that a recipe asks for; None for a plateau, which looks at the training."""
    if recipe.schedule == "steps":
        return StepSchedule(learning_rate, recipe.milestones, recipe.decay)
    if recipe.schedule == "log-space":
        return LogSpace(learning_rate, epochs, recipe.decades)
    return OneCycle(learning_rate, epochs, recipe.rise) if recipe.schedule == "one-cycle" else None


class _EpochByEpoch:
    """A rate that stays through an epoch."""

    def __call__(self, epochs_done: int) -> float:
        raise NotImplementedError

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(Events.EPOCH_STARTED, self._set)

    def _set(self, student: StudentEngine) -> None:
        _set_rate(student, self(student.state.epoch - 1))


class StepSchedule(_EpochByEpoch):
    """Multiply the learning rate by `decay` after each milestone, as torch's `MultiStepLR` does, to the last digit."""

    def __init__(self, learning_rate: float, milestones: Sequence[int], decay: float) -> None:
        self.learning_rate, self.milestones, self.decay = learning_rate, tuple(milestones), decay

    def __call__(self, epochs_done: int) -> float:
        rate = self.learning_rate
        for milestone in self.milestones:
            if epochs_done >= milestone:
                rate *= self.decay
        return rate


class LogSpace(_EpochByEpoch):
    """Lower the learning rate epoch by epoch, evenly in its logarithm, as `numpy.logspace` does.

    Args:
        learning_rate: of the first epoch.
        epochs: how long the whole takes.
        decades: the last epoch's rate is that many powers of ten lower; 0: it stays.
    """

    def __init__(self, learning_rate: float, epochs: int, decades: float = 1.0) -> None:
        self.learning_rate, self.epochs, self.decades = learning_rate, epochs, decades

    def __call__(self, epochs_done: int) -> float:
        return float(self.learning_rate * 10.0 ** (-self.decades * epochs_done / max(1, self.epochs - 1)))


class Plateau:
    """Multiply the learning rate by `factor` where the loss on validation has not fallen for `patience` epochs.

    This one depends on what was measured: it is saved, and the rate itself lies in the optimizer's state. Attach it
    after the evaluation.
    """

    def __init__(self, student: StudentEngine, factor: float, patience: int, metric: str = "validation/loss") -> None:
        self.metric, self.theirs = metric, ReduceLROnPlateau(student.optimizer, factor=factor, patience=patience)

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(Events.EPOCH_COMPLETED, self._step)

    def _step(self, student: StudentEngine) -> None:
        if self.metric in student.state.metrics:  # nothing is measured in some epochs, perhaps
            self.theirs.step(student.state.metrics[self.metric])

    def state_dict(self) -> dict[str, Any]:
        return self.theirs.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.theirs.load_state_dict(state)


class OneCycle:
    """Raise the learning rate step by step to its peak, then lower it to nothing at the end, along straight lines.

    Args:
        learning_rate: the peak.
        epochs: how long the whole takes.
        rise: the part of it in which the rate grows.
    """

    def __init__(self, learning_rate: float, epochs: int, rise: float = 0.2) -> None:
        self.learning_rate, self.epochs, self.rise = learning_rate, epochs, rise

    def __call__(self, epochs_done: float) -> float:
        done = epochs_done / self.epochs
        if done < self.rise:
            return self.learning_rate * done / self.rise
        return self.learning_rate * max(1 - done, 0.0) / (1 - self.rise)

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(Events.ITERATION_STARTED, self._set)

    def _set(self, student: StudentEngine) -> None:
        """In the middle of the step, so that neither the first nor the last one is wasted with a rate of 0."""
        _set_rate(student, self((student.state.iteration - 0.5) / student.state.epoch_length))


def _set_rate(student: StudentEngine, rate: float) -> None:
    """A group of parameters with a "rate" of its own learns so many times as fast."""
    for group in student.optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)
