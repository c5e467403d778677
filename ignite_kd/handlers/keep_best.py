"""The weights of the best epoch, as validation sees it."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.engines import StudentEngine
from ignite_kd.files import write_while_training
from ignite_kd.handlers.evaluation import Evaluate
from ignite_kd.handlers.finite import weights_are_finite

__all__ = ["KeepBest"]


class KeepBest:
    """Writes the student's weights to `path` whenever validation was better than ever. Attach it after `Evaluate`."""

    def __init__(self, evaluation: Evaluate, path: str | Path) -> None:
        self.evaluation, self.path = evaluation, Path(path)

    @property
    def accuracy(self) -> float:
        return self.evaluation.best[0]

    @property
    def epoch(self) -> int:
        return self.evaluation.best[1]

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(Events.EPOCH_COMPLETED, self._keep)

    def _keep(self, student: StudentEngine) -> None:
        if self.epoch == student.state.epoch and weights_are_finite(student.model):
            content = io.BytesIO()
            torch.save(student.model.state_dict(), content)
            write_while_training(self.path, content.getvalue(), "the best epoch before is kept")
