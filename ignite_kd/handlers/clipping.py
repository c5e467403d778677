"""Gradients that are too long are shortened before the step."""

from __future__ import annotations

from ignite.engine.events import RemovableEventHandle
from torch import nn

from ignite_kd.engines import StudentEngine
from ignite_kd.events import DistillationEvents

__all__ = ["ClipGradients"]


class ClipGradients:
    """Scale the gradient of everything that is trained, student and heads, down to this norm where it is longer.

    One factor for all, so its direction stays. Attach it after `AverageGradients`: the norm is that of the whole batch.
    """

    def __init__(self, norm: float) -> None:
        self.norm = norm

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(DistillationEvents.BACKWARD_COMPLETED, self._clip)

    def _clip(self, student: StudentEngine) -> None:
        nn.utils.clip_grad_norm_((p for group in student.optimizer.param_groups for p in group["params"]), self.norm)
