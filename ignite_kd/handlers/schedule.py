"""The learning rate as a function of how far the training is, so that a resumed run needs nothing remembered."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.engines import StudentEngine

__all__ = ["OneCycle", "StepSchedule"]


class StepSchedule:
    """Multiply the learning rate by `decay` after each milestone, as torch's `MultiStepLR` does, to the last digit."""

    def __init__(self, learning_rate: float, milestones: Sequence[int], decay: float) -> None:
        self.learning_rate, self.milestones, self.decay = learning_rate, tuple(milestones), decay

    def __call__(self, epochs_done: int) -> float:
        rate = self.learning_rate
        for milestone in self.milestones:
            if epochs_done >= milestone:
                rate *= self.decay
        return rate

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(Events.EPOCH_STARTED, self._set)

    def _set(self, student: StudentEngine) -> None:
        _set_rate(student, self(student.state.epoch - 1))


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
