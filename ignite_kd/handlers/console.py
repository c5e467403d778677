"""Progress: a bar with the remaining time on a terminal, else one line an epoch, and some before the first."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from tqdm import tqdm

from ignite_kd.engines import StudentEngine

__all__ = ["Console"]

_SHOWN = ("train/loss", "train/accuracy", "validation/accuracy", "test/accuracy")


class Console:
    """Shows how far a run is. Attach it after what fills `state.metrics`.

    Args:
        stream: standard error for the bar, standard output for the lines, unless one is given.
        total_epochs: to tell the remaining time; by default those of the engine's run.
        shown: which of `state.metrics`, where they are there.
        label: begins each line; with one there is no bar, because several would overwrite each other.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        total_epochs: int | None = None,
        shown: Sequence[str] = _SHOWN,
        label: str = "",
    ) -> None:
        self.label = f"[{label}] " if label else ""
        self.terminal = not label and (stream or sys.stderr).isatty()
        self.stream = stream or (sys.stderr if self.terminal else sys.stdout)
        self.total_epochs, self.shown = total_epochs, tuple(shown)
        self._bar: tqdm | None = None
        self._began = self._first = 0.0
        self._patience = 60.0  # seconds until the next line, as long as no epoch has ended

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        handles = [
            student.add_event_handler(Events.STARTED | Events.EPOCH_STARTED, self._begin),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._epoch),
        ]
        if self.terminal:
            handles += [
                student.add_event_handler(Events.ITERATION_COMPLETED, self._advance),
                student.add_event_handler(Events.COMPLETED | Events.TERMINATE, self.close),
            ]
        else:
            handles.append(student.add_event_handler(Events.ITERATION_COMPLETED, self._reassure))
        return handles

    def _begin(self, student: StudentEngine) -> None:
        state = student.state
        if not self._began:
            self._began, self._first = time.monotonic(), state.iteration
        if self.terminal and self._bar is None and state.epoch_length:
            total = self._epochs(student) * state.epoch_length
            self._bar = tqdm(total=total, initial=state.iteration, file=self.stream, unit="step", dynamic_ncols=True)

    def _advance(self, student: StudentEngine) -> None:
        if self._bar is not None:
            self._bar.update(student.state.iteration - self._bar.n)
            self._bar.set_description(f"epoch {student.state.epoch}/{self._epochs(student)}", refresh=False)

    def _reassure(self, student: StudentEngine) -> None:
        """The first epoch may take an hour: say after 1, 2, 4, … minutes how fast it is."""
        if time.monotonic() - self._began >= self._patience:
            self._patience *= 2
            state = student.state
            step = (state.iteration - 1) % (state.epoch_length or 1) + 1
            line = f"{self.label}epoch {state.epoch}/{self._epochs(student)}  step {step} of {state.epoch_length}"
            print(line + self._pace(student), file=self.stream, flush=True)

    def _epoch(self, student: StudentEngine) -> None:
        self._patience = math.inf
        state, total = student.state, self._epochs(student)
        found = [(name, state.metrics[name]) for name in self.shown if name in state.metrics]
        values = "  ".join(f"{name.replace('/', ' ')} {value:{_format(name)}}" for name, value in found)
        rate = student.optimizer.param_groups[0]["lr"]
        line = f"{self.label}epoch {state.epoch}/{total}  {values}  lr {rate:g}"
        if self._bar is not None:
            self._bar.write(line, file=self.stream)
            return
        print(line + self._pace(student), file=self.stream, flush=True)

    def _pace(self, student: StudentEngine) -> str:
        """Seconds a step, with all that lies between steps, and the time left."""
        state = student.state
        steps, seconds = state.iteration - self._first, time.monotonic() - self._began
        if steps <= 0 or not state.epoch_length:
            return ""
        left = (self._epochs(student) * state.epoch_length - state.iteration) * seconds / steps
        return f"  {seconds / steps:.3f} s/step  {_duration(left)} left"

    def close(self) -> None:
        """Take the bar away; a run that ends in an exception leaves that to its caller."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _epochs(self, student: StudentEngine) -> int:
        return self.total_epochs or student.state.max_epochs or 1


def _format(name: str) -> str:
    return ".2%" if name.endswith("accuracy") else ".4f"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
