"""Fill cells of a table: train what is missing, one run for students that can share a teacher; stop and go on."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite_kd import models, run_folder
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.handlers import Stopping
from ignite_kd.launch import launch
from ignite_kd.plan import Plan
from ignite_kd.tables.buildable import check_losses
from ignite_kd.tables.elsewhere import Elsewhere
from ignite_kd.tables.faculty import Faculty
from ignite_kd.tables.place import Place, record_of
from ignite_kd.tables.plans import Machine, student_plan
from ignite_kd.tables.table import TEACHER, Cell, Table
from ignite_kd.tables.trial import Trial, read_trial, write_trial

__all__ = ["Reproduction"]

_LONGEST = 1000  # times the published epochs


class Reproduction:
    """The work on a table in a folder: a finished training is never done again, others are gone on with where they
    stand, and the report is written anew whenever one has ended.

    Args:
        scale: of all epochs; such results are marked, and not compared with the published ones.
        group: how many students learn from one teacher at a time.
        given: files of teachers.
        finished: files of trials that were finished elsewhere.
        time_limit: in seconds.
    """

    def __init__(
        self,
        table: Table,
        folder: Path,
        machine: Machine,
        scale: float = 1.0,
        group: int = 4,
        given: Sequence[str] = (),
        finished: Sequence[str] = (),
        time_limit: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        if not 0 < scale <= _LONGEST:
            raise UserError(f"--epochs-scale should be above 0 and at most {_LONGEST}, but {scale:g} was given.")
        self.table, self.machine, self.scale, self.group, self.say = table, machine, scale, group, say
        self.place = Place(folder, table, scale)
        self._faculty = Faculty(self.place, machine, given, self._train, say)
        self._elsewhere = Elsewhere(finished, table, scale)
        self._deadline = math.inf if time_limit is None else time.monotonic() + time_limit

    def run(self, cells: Sequence[Cell], trials: Sequence[int]) -> int:
        """Fill these cells with these trials; returns the exit status: 0 when all is there."""
        self._homes = self._trainings()
        check_losses(self.table, cells)
        run_folder.make(self.place.folder)
        lock = run_folder.lock(self.place.folder)
        try:
            self.place.enter()
            try:
                status = self._fill(cells, trials)
            finally:
                self.place.report(self.say)
            self.place.remark(self.say)
            return status
        finally:
            run_folder.leave(self.place.folder, lock)

    def _fill(self, cells: Sequence[Cell], trials: Sequence[int]) -> int:
        taught = [cell for cell in cells if cell.row == TEACHER or self.table.is_taught(cell)]
        status = self._faculty.engage(self.table.columns[cell.column].teacher for cell in taught)
        if status:
            return status
        missing = list(self._missing(cells, trials))
        plans = {str(plan.output_dir): plan for _, _, plan in missing}  # cells may share a training
        groups = list(self._groups(list(plans.values())))
        self.say(f"{len(plans)} trainings to do, in {len(groups)} runs" if missing else "nothing is left to train")
        for group in groups:
            status = self._train(group)
            for cell, trial, plan in missing:
                if plan in group:
                    self._collect(cell, trial, plan)
            self.place.report(self.say)
            if status:
                return status
        return 0

    def _trainings(self) -> dict[Cell, Cell]:
        """Each student's cell with the first one of the same training: alone, it is the same under any teacher.

        Building all plans also finds what is wrong with a table before anything is trained.
        """
        first: dict[str, Cell] = {}
        students = [cell for cell in self.table.cells() if cell.row != TEACHER]
        for column in self.table.columns.values():
            models.check_name(column.teacher)
            models.check_name(column.student)
        return {
            cell: first.setdefault(repr(student_plan(self.table, cell, 0, None, self.scale)), cell) for cell in students
        }

    # trials

    def _missing(self, cells: Sequence[Cell], trials: Sequence[int]) -> Iterator[tuple[Cell, int, Plan]]:
        students = [cell for cell in cells if cell.row != TEACHER]
        for trial in trials:  # a first result of all before a second of any
            for cell in students:
                plan = self._plan(cell, trial)
                path, identity = self.place.trial(cell, trial), run_folder.identity_of(plan)
                if path.exists():
                    _refuse_other(path, plan, identity)
                    continue
                alike = [other for other in self._homes if self._homes[other] == self._homes[cell] and other != cell]
                if not (
                    self._collect(cell, trial, plan)
                    or self._copy(cell, alike, trial, identity)
                    or self._elsewhere.take_over([cell, *alike], trial, identity, path)
                ):
                    yield cell, trial, plan

    def _copy(self, cell: Cell, alike: Sequence[Cell], trial: int, identity: dict[str, Any]) -> bool:
        """Take the trial of another cell here that is the same training, e.g. a student alone in two columns."""
        for other in alike:
            path = self.place.trial(other, trial)
            if path.exists() and not (known := read_trial(path)).differs_from(identity):
                known = dataclasses.replace(known, row=cell.row, column=cell.column)
                write_trial(self.place.trial(cell, trial), known)
                return True
        return False

    def _collect(self, cell: Cell, trial: int, plan: Plan) -> bool:
        """Make a trial of a run that has ended; False where there is none."""
        record = Path(str(plan.output_dir)) / "run.json"
        if not record.exists():
            return False
        run = run_folder.refuse_changes(record.parent, run_folder.identity_of(plan))
        if not _has_ended(run):
            return False
        try:
            write_trial(self.place.trial(cell, trial), Trial.of_run(self.table.name, cell, trial, self.scale, run))
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{record} is damaged; move its folder away to train it again.") from None
        return True

    def _plan(self, cell: Cell, trial: int) -> Plan:
        teacher = self._faculty.paths.get(self.table.columns[cell.column].teacher)
        folder = self.place.run(self._homes[cell], trial)
        path = None if teacher is None else str(teacher.absolute())  # the run is looked at from anywhere
        return student_plan(self.table, cell, trial, path, self.scale, output_dir=str(folder), **vars(self.machine))

    # training

    def _groups(self, plans: Sequence[Plan]) -> Iterator[list[Plan]]:
        """Students that can learn from the same batches of the same teacher, so many at a time."""
        alike: dict[str, list[Plan]] = {}
        for plan in plans:
            alike.setdefault(json.dumps([plan.shared(), _begun(plan)], sort_keys=True, default=str), []).append(plan)
        for members in alike.values():
            for start in range(0, len(members), self.group):
                yield members[start : start + self.group]

    def _train(self, plans: Sequence[Plan]) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            self.say("stopped by time limit; the same command goes on")
            return Stopping.TIME_LIMIT_STATUS
        limit = None if left == math.inf else left
        status = 1
        try:
            status = launch([dataclasses.replace(plan, time_limit=limit) for plan in plans])
        except RunFailed as error:
            if not all(_has_ended(record_of(plan)) for plan in plans):
                raise
            self.say(f"warning: {error}")
        finally:
            if "torch._dynamo" in sys.modules:  # what was compiled for one group must not count against the next
                sys.modules["torch._dynamo"].reset()
        # a student that diverged is a result, of which processes tell by their status
        return 0 if status == 1 and all(_has_ended(record_of(plan)) for plan in plans) else status


def _refuse_other(path: Path, plan: Plan, identity: Mapping[str, Any]) -> None:
    changed = read_trial(path).differs_from(dict(identity))
    if changed:
        raise UserError(
            f"{path} was trained with other settings: {'; '.join(changed)}; "
            f"choose another --output-dir, or move it and {plan.output_dir} away to train it again."
        )


def _has_ended(record: Mapping[str, Any]) -> bool:
    """Whether nothing is gained by going on: a full disk, too, makes a run fail, but that may be put right."""
    return record.get("status") == "finished" or (record.get("status") == "failed" and record.get("diverged", True))


def _begun(plan: Plan) -> Any:
    """How a run was begun, which classmates must have in common; nothing for one that was not."""
    record = record_of(plan)
    return record.get("compiled"), record.get("data")
