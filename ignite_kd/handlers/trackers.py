"""Experiment trackers by name, on ignite's own loggers."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from ignite.handlers import TensorboardLogger

from ignite_kd.engines import StudentEngine
from ignite_kd.errors import UserError, unknown
from ignite_kd.handlers.record import as_number

__all__ = ["Tracker", "tracker"]

_KINDS = ("tensorboard",)


class Tracker:
    """Writes every metric and the learning rate at each epoch to tensorboard files in `folder`."""

    def __init__(self, folder: str | Path) -> None:
        try:
            self.logger = TensorboardLogger(log_dir=str(folder))
        except ModuleNotFoundError:
            raise UserError(
                "--tracker tensorboard needs tensorboard; install it with: pip install tensorboard"
            ) from None

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        """Attach after what fills `state.metrics`."""
        return [
            student.add_event_handler(Events.EPOCH_COMPLETED, self._write),
            student.add_event_handler(Events.COMPLETED | Events.TERMINATE, self.logger.close),
        ]

    def _write(self, student: StudentEngine) -> None:
        values = student.state.metrics | {"learning_rate": student.optimizer.param_groups[0]["lr"]}
        for name, value in values.items():
            number = as_number(value)
            if number is not None:  # a table that a user attached
                self.logger.writer.add_scalar(name, number, student.state.epoch)
        self.logger.writer.flush()


def tracker(kind: str, folder: str | Path) -> Tracker:
    """The tracker called `kind`."""
    if kind not in _KINDS:
        raise unknown("tracker", kind, _KINDS)
    return Tracker(folder)
