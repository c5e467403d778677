"""Checkpoints that survive anything: written beside, named by their checksum, the old one removed last."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import re
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.distributed import agree
from ignite_kd.engines import StudentEngine
from ignite_kd.errors import UserError
from ignite_kd.files import write_while_training

__all__ = ["Checkpoints", "newest"]

_ASK_EVERY = 10  # steps after which several processes ask each other whether a checkpoint is due
_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.pt")


class Checkpoints:
    """Saves `objects` (anything with `state_dict`) at the end of each epoch, every so often within one, and at a stop.

    Attach it last: what other handlers do at the end of an epoch is then part of what is saved.

    Args:
        folder: where; files are called `step-<iteration>-<checksum>.pt`.
        objects: says what, by name, whenever it is asked: `student.to_save()`, in which a head may be that was attached
            later, and the handlers that have a state. What never changes may be given as it is.
        keep: how many to keep. Two, so that a torn newest one does not end a run.
        seconds: how long an epoch may run without a checkpoint in it.
        check: called before anything is written; raises where the state is not worth keeping.
    """

    def __init__(
        self,
        folder: str | Path,
        objects: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        keep: int = 2,
        seconds: float = 300.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.keep, self.seconds, self.check = Path(folder), keep, seconds, check
        self.objects = objects if callable(objects) else lambda: objects
        self._saved_at = time.monotonic()
        self._saved_step: int | None = None  # of this run

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        return [
            student.add_event_handler(Events.STARTED, self._begin),
            student.add_event_handler(Events.ITERATION_COMPLETED, self._save_when_due),
            student.add_event_handler(Events.EPOCH_COMPLETED | Events.TERMINATE, self.save),
        ]

    def files(self) -> list[Path]:
        """The checkpoints that are there, oldest first."""
        return _files(self.folder)

    def save(self, student: StudentEngine) -> None:
        self.check()
        if self._saved_step == student.state.iteration:
            return
        state = {name: thing.state_dict() for name, thing in self.objects().items()}  # some sum theirs over processes
        if idist.get_rank() == 0:
            self._write(student, state)
        self._saved_at, self._saved_step = time.monotonic(), student.state.iteration

    def _write(self, student: StudentEngine, state: dict[str, Any]) -> None:
        prefix = f"step-{student.state.iteration:09d}-"
        content = io.BytesIO()
        torch.save(state, content)
        name = f"{prefix}{hashlib.sha256(content.getbuffer()).hexdigest()[:16]}.pt"
        write_while_training(self.folder / name, content.getvalue(), "the checkpoints before are kept")
        replaced = [path for path in self.files() if path.name.startswith(prefix) and path.name != name]
        for old in replaced:
            old.unlink(missing_ok=True)
        for old in self.files()[: -self.keep]:
            old.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._saved_step = None

    def _save_when_due(self, student: StudentEngine) -> None:
        iteration = student.state.iteration
        # never at the last step of an epoch: what ends the epoch would be lost between this checkpoint and the next
        if iteration % student.state.epoch_length == 0 or (idist.get_world_size() > 1 and iteration % _ASK_EVERY):
            return
        (due,) = agree(time.monotonic() - self._saved_at > self.seconds)  # clocks differ, but all must save
        if due:
            self.save(student)

    def load_latest(self) -> Path | None:
        """Put the newest sound checkpoint back into the objects; a torn one is named and the one before it is used."""
        with idist.one_rank_first():  # who puts a torn one away; the others do not meet it
            for half in self.folder.glob(".step-*.part"):  # what a kill left of one that was being written
                half.unlink(missing_ok=True)
            found = newest(self.folder, self._put_away)
            if found is None:
                return None
            path, state = found
            objects = self.objects()
            if other := sorted(name for name in objects.keys() ^ state.keys() if name.startswith("head.")):
                raise UserError(
                    f"{path} was written with other heads ({', '.join(other)}); attach to the student what was "
                    "attached then, or begin anew."
                )
            for name, thing in objects.items():
                thing.load_state_dict(state[name])
            return path

    def _put_away(self, path: Path) -> None:
        aside = path.with_suffix(".damaged")  # out of the way of the sound one that step will write again
        path.replace(aside)
        warnings.warn(f"{path} is damaged (kept as {aside.name}); trying the one before it.", stacklevel=4)


def newest(folder: Path, torn: Callable[[Path], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest sound checkpoint in `folder` and what is in it; `torn` is told of each damaged one on the way."""
    for path in reversed(_files(folder)):
        try:
            state = _read(path)
        except FileNotFoundError:  # a training that goes on has newer ones by now
            return newest(folder, torn)
        if state is not None:
            return path, state
        torn(path)
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def _read(path: Path) -> dict[str, Any] | None:
    content = path.read_bytes()
    match = _NAME.fullmatch(path.name)
    if match is None or hashlib.sha256(content).hexdigest()[:16] != match[2]:
        return None
    with contextlib.suppress(RuntimeError, pickle.UnpicklingError, EOFError):
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return None
