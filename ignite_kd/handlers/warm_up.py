"""A factor that grows from nothing over the first epochs."""

from __future__ import annotations

from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.engines import StudentEngine
from ignite_kd.errors import UserError

__all__ = ["WarmUp"]


class WarmUp:
    """Multiply the factor of the loss `name` by min(epoch / `epochs`, 1). Attach it after the head.

    The factor is a function of the epoch alone, so a resumed run needs nothing remembered.

    Args:
        name: of the loss, as its head was attached.
        epochs: how long the factor grows.
        first: what the first epoch counts as. 1, as mdistiller counts (a twentieth in the first of 20 epochs); the
            released ReviewKD counts from 0, so that nothing is distilled in the first epoch.
    """

    def __init__(self, name: str, epochs: int, first: int = 1) -> None:
        if epochs < 1:
            raise UserError(f"a warm-up takes 1 epoch or more, not {epochs}.")
        self.name, self.epochs, self.first = name, epochs, first

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(Events.EPOCH_STARTED, self._set, student.factors[self.name])

    def _set(self, student: StudentEngine, factor: float) -> None:
        counted = student.state.epoch - 1 + self.first
        student.factors[self.name] = factor * min(counted / self.epochs, 1.0)
