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

from ignite_kd.distributed import agree
from ignite_kd.engines import StudentEngine

__all__ = ["Stopping"]


class Stopping:
    """A `with` block in which signals do not kill a run but stop it after the step that is under way.

    `reason` then says what happened, and `status` what the process should exit with: 130 after Ctrl-C, 143 after
    SIGTERM (both as a shell reports them), 75 ("try again") at the time limit. A second Ctrl-C kills at once.

    Several processes stop after the same step. They ask each other once a second, or every ten steps where these are
    shorter than a tenth of one: not each step, since the slowest would then be waited for as often.

    Args:
        time_limit: seconds from now; None for no limit.
    """

    TIME_LIMIT_STATUS = 75

    def __init__(self, time_limit: float | None = None) -> None:
        self.reason: str | None = None
        self.status = 0
        self._deadline = None if time_limit is None else time.monotonic() + time_limit
        self._before: dict[signal.Signals, Any] = {}
        self._agreed = False
        self._looked = (0, 0.0)  # the iteration and time at which the processes last asked each other
        self._next_look = 0

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
            student.add_event_handler(Events.STARTED, self._begin),
            student.add_event_handler(Events.ITERATION_COMPLETED, self._within_epoch),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._stop_if_asked),
        ]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._agreed:
            self.reason, self.status = signal.Signals(number).name, 128 + number

    def _begin(self) -> None:
        self._looked, self._next_look = (0, 0.0), 0

    def _within_epoch(self, student: StudentEngine) -> None:
        iteration = student.state.iteration
        look = idist.get_world_size() == 1 or self._agreed or iteration >= self._next_look
        # the last step of an epoch still has its evaluation, record and checkpoint to come
        if look and iteration % student.state.epoch_length:
            self._stop_if_asked(student)

    def asked(self) -> bool:
        """Whether it is time to stop, for work that is no engine's."""
        if self.reason is None and self._deadline is not None and time.monotonic() > self._deadline:
            self.reason, self.status = "time limit", self.TIME_LIMIT_STATUS
        return self.status != 0

    def was_asked(self) -> bool:
        """Whether a stop was asked for so far, with one answer for all processes."""
        if idist.get_world_size() > 1 and not self._agreed:
            self._settle(*agree(self.status))
        return self.reason is not None

    def _stop_if_asked(self, student: StudentEngine) -> None:
        self.asked()
        status = self.status
        if idist.get_world_size() > 1 and not self._agreed:
            status = self._ask_all(student.state.iteration)
        if status:  # what all know: a signal that has come since is for the next step
            student.terminate(skip_completed=True)

    def _ask_all(self, iteration: int) -> int:
        (last, then), now = self._looked, time.monotonic()
        status, seconds = agree(self.status, (now - then) / max(1, iteration - last))
        self._looked = iteration, now
        self._next_look = iteration + max(1, min(10, int(1 / max(seconds, 1e-3))))
        self._settle(status)
        return int(status)

    def _settle(self, status: float) -> None:
        if status:
            self._agreed, self.status = True, int(status)
            self.reason = {75: "time limit", 130: "SIGINT", 143: "SIGTERM"}[self.status]
