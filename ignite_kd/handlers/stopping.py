"""Stopping in good order: Ctrl-C, SIGTERM and a time limit finish the step, save, and can be resumed."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import ignite.distributed as idist
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.engines import StudentEngine

__all__ = ["Stopping"]


class Stopping:
    """A `with` block in which signals do not kill a run but stop it after the step that is under way.

    `reason` then says what happened, and `status` what the process should exit with: 130 after Ctrl-C, 143 after
    SIGTERM (both as a shell reports them), 75 ("try again") at the time limit. A second Ctrl-C kills at once.

    Args:
        time_limit: seconds from now; None for no limit.
    """

    TIME_LIMIT_STATUS = 75

    def __init__(self, time_limit: float | None = None) -> None:
        self.reason: str | None = None
        self.status = 0
        self._deadline = None if time_limit is None else time.monotonic() + time_limit
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        """Attach after everything that belongs to the end of an epoch. A checkpoint is due at `Events.TERMINATE`."""
        return [
            student.add_event_handler(Events.ITERATION_COMPLETED, self._within_epoch),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._stop_if_asked),
        ]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.reason, self.status = signal.Signals(number).name, 128 + number

    def _within_epoch(self, student: StudentEngine) -> None:
        # the last step of an epoch still has its evaluation, record and checkpoint to come
        if student.state.iteration % student.state.epoch_length:
            self._stop_if_asked(student)

    def _stop_if_asked(self, student: StudentEngine) -> None:
        if self.reason is None and self._deadline is not None and time.monotonic() > self._deadline:
            self.reason, self.status = "time limit", self.TIME_LIMIT_STATUS
        status = self.status
        if idist.get_world_size() > 1:  # all ranks stop after the same step, or the others would wait for ever
            status = int(idist.all_reduce(status, "MAX"))
            if status and self.reason is None:
                self.reason, self.status = "another process was stopped", status
        if status:  # what all know: a signal that has come since is for the next step
            student.terminate(skip_completed=True)
