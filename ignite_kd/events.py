"""The two events of a distillation step that ignite does not have."""

from __future__ import annotations

from ignite.engine.events import EventEnum

__all__ = ["DistillationEvents"]


class DistillationEvents(EventEnum):
    """Events of a `StudentEngine`, counted by its iteration, so that `LOSSES(every=2)` works as on any event.

    - LOSSES: the student (and the teacher) have seen the batch; every head adds its term.
    - BACKWARD_COMPLETED: gradients are there, the optimizer has not stepped yet (clip, average, inspect here).
    """

    LOSSES = "losses"
    BACKWARD_COMPLETED = "backward_completed"
