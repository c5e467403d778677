"""An epoch whose last step was done ends, whoever stops the training there."""

from __future__ import annotations

from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.engines import StudentEngine

__all__ = ["EndEpoch"]


class EndEpoch:
    """Fires the `EPOCH_COMPLETED` that ignite leaves out where a handler called `terminate()` at an epoch's last step.

    Else that epoch would be saved as done without its validation, means and line. Attach it before what saves.
    """

    def __init__(self) -> None:
        self._under_way = False

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        return [
            student.add_event_handler(Events.EPOCH_STARTED, self._begin),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._end),
            student.add_event_handler(Events.TERMINATE, self._catch_up),
        ]

    def _begin(self) -> None:
        self._under_way = True

    def _end(self) -> None:
        self._under_way = False

    def _catch_up(self, student: StudentEngine) -> None:
        state = student.state
        if self._under_way and state.epoch_length and state.iteration == state.epoch * state.epoch_length:
            student.fire_event(Events.EPOCH_COMPLETED)
