"""The step of this package as users get it: a real session, stopped and sent on by the benchmark."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ignite.engine import Engine, Events

from ignite_kd import data
from ignite_kd.data.dataset import Dataset
from ignite_kd.engines import StudentEngine
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.together import step_together

__all__ = ["Endless", "PackageLoop"]


class PackageLoop:
    """Students of sessions side by side, with all the handlers that a session attaches; `run` takes steps.

    Everything that this benchmark asks of `Session` is in this class.

    Args:
        plan: the training of the first; its folder is used up, and those of the others beside it.
        students: how many learn from the same batches of the same teacher.
        dataset: given to the first session instead of being read from files.
        beside: a loop whose data and teacher this one uses too, so that neither is made again.
    """

    session: Session

    def __init__(
        self, plan: Plan, students: int = 1, dataset: Dataset | None = None, beside: PackageLoop | None = None
    ) -> None:
        started = time.perf_counter()
        with _silence(), _serving(dataset):
            session = Session(plan, beside=beside.session if beside else None)
            self.build = time.perf_counter() - started
            session.begin()
        self.start_up = time.perf_counter() - started  # with a look at how good the teacher is
        self.session, self._sessions = session, [session]
        for number in range(1, students):
            self._sessions.append(self._classmate(plan, number))
        self.students = [each.student for each in self._sessions]
        assert session.teacher is not None
        self.teacher, self.device, self.stream = session.teacher, session.device, copy.copy(session.data.train)
        self._loader, self._stop_at = Endless(self.stream), 0
        if students == 1:
            session.student.add_event_handler(Events.ITERATION_COMPLETED, self._pause)
        else:
            self._steps = step_together(self.students, self._loader, max_epochs=1)

    def run(self, steps: int) -> None:
        """Take steps; the engines stand still between two calls, in the middle of an epoch that has no end."""
        with _silence():
            if len(self.students) == 1:
                self._stop_at += steps
                self.students[0].run(self._loader, max_epochs=1)
            else:
                for _ in range(steps):
                    next(self._steps)

    def close(self) -> None:
        with _no_logs():  # ignite tells of runs that are given up
            if len(self.students) > 1:
                self._steps.close()
            self.students[0]._internal_run_generator = None
        for session in self._sessions:
            session.close()

    def _classmate(self, plan: Plan, number: int) -> Session:
        seed, folder = plan.seed + number, f"{plan.output_dir}-{number}"
        with _silence():
            session = Session(replace(plan, seed=seed, order_seed=plan.order, output_dir=folder), beside=self.session)
            session.begin()
        return session

    def _pause(self, student: StudentEngine) -> None:
        if student.state.iteration >= self._stop_at:
            Engine.interrupt(student)


class Endless:
    """A loader gone through again and again as one epoch, so that no epoch's end falls into a measurement."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self._loader


@contextlib.contextmanager
def _no_logs() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What a session says goes nowhere; and it sees no terminal, so it draws no bar."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _serving(dataset: Dataset | None) -> Iterator[None]:
    """Inside, a data set's name stands for this one."""
    if dataset is None:
        yield
        return
    before = data._IN_MEMORY[dataset.name]
    data._IN_MEMORY[dataset.name] = lambda data_dir, download: dataset
    try:
        yield
    finally:
        data._IN_MEMORY[dataset.name] = before
