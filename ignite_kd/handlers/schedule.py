"""The step schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.engines import StudentEngine

__all__ = ["StepSchedule"]


class StepSchedule:
    """Multiply the learning rate by `decay` after each milestone, as torch's `MultiStepLR` does, to the last digit.

    The rate is a function of the epoch alone, so a resumed run needs nothing remembered.
    """

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
        for group in student.optimizer.param_groups:
            group["lr"] = self(student.state.epoch - 1)
