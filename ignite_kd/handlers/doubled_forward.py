"""A quirk of a released code: the student runs twice a step."""

from __future__ import annotations

import torch
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.engines import StudentEngine

__all__ = ["DoubledForward"]


class DoubledForward:
    """Run the student once more before each step, in training mode and without a gradient.

    Nothing of it is used; the running statistics of batch norms move twice. Costs a forward pass.
    """

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(Events.ITERATION_STARTED, self._run)

    def _run(self, student: StudentEngine) -> None:
        with torch.no_grad():
            student.model(student.state.batch.images)
