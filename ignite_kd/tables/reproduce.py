"""Fill cells of a table: train what is missing, one run for students that can share a teacher; stop and go on."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ignite_kd import run_folder
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.files import atomic_write, digest_of
from ignite_kd.launch import launch
from ignite_kd.plan import Plan
from ignite_kd.tables import report, teachers
from ignite_kd.tables.plans import Machine, student_plan, teacher_plan
from ignite_kd.tables.table import TEACHER, Cell, Table
from ignite_kd.tables.trial import Trial, read_trial, write_trial

__all__ = ["Reproduction"]

_TIME_IS_UP = 75


class Reproduction:
    """The work on a table in a folder.

    `trials/` holds a file for each finished training, which is never trained again; `runs/` and `teachers/` are
    ordinary runs, gone on with where they stand; `table.md`, `table.png` and `trials.jsonl` are written anew whenever
    a training has ended.

    Args:
        scale: of all epochs; such results are marked, and not compared with the published ones.
        group: how many students learn from one teacher at a time.
        given: files of teachers.
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
        time_limit: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.table, self.folder, self.machine = table, folder, machine
        self.scale, self.group, self.given, self.say = scale, group, given, say
        self._deadline = math.inf if time_limit is None else time.monotonic() + time_limit

    def run(self, cells: Sequence[Cell], trials: Sequence[int]) -> int:
        """Fill these cells with these trials; returns the exit status: 0 when all is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = run_folder.lock(self.folder)
        try:
            return self._fill(cells, trials)
        finally:
            self._report()
            lock.close()

    def _fill(self, cells: Sequence[Cell], trials: Sequence[int]) -> int:
        self._enter()
        wanted = [self.table.columns[cell.column].teacher for cell in cells if self._is_taught(cell)]
        given = teachers.given(self.given, dict.fromkeys(wanted))
        self._teachers = {}
        for name in dict.fromkeys(wanted):
            status, path = self._teacher(name, given.get(name))
            if path is None:
                return status
            self._teachers[name] = path
        missing = list(self._missing(cells, trials))
        groups = list(self._groups([plan for _, _, plan in missing]))
        self.say(f"{len(missing)} trainings to do, in {len(groups)} runs" if missing else "nothing is left to train")
        for group in groups:
            status = self._train(group)
            for cell, trial, plan in missing:
                if plan in group:
                    self._collect(cell, trial, plan)
            self._report()
            if status:
                return status
        return 0

    def _is_taught(self, cell: Cell) -> bool:
        return cell.row == TEACHER or bool(self.table.losses[cell.row])

    # trials

    def _missing(self, cells: Sequence[Cell], trials: Sequence[int]) -> Iterator[tuple[Cell, int, Plan]]:
        students = [cell for cell in cells if cell.row != TEACHER]
        for trial in trials:  # a first result of all before a second of any
            for cell in students:
                plan = self._plan(cell, trial)
                path = self._trial_path(cell, trial)
                if path.exists():
                    read_trial(path).refuse_other(run_folder.identity_of(plan), path)
                elif not self._collect(cell, trial, plan):
                    yield cell, trial, plan

    def _collect(self, cell: Cell, trial: int, plan: Plan) -> bool:
        """Make a trial of a run that has ended; False where there is none."""
        record = Path(str(plan.output_dir)) / "run.json"
        if not record.exists():
            return False
        run = run_folder.refuse_changes(record.parent, run_folder.identity_of(plan))
        if run.get("status") not in ("finished", "failed"):
            return False
        write_trial(self._trial_path(cell, trial), Trial.of_run(self.table.name, cell, trial, self.scale, run))
        return True

    def _plan(self, cell: Cell, trial: int) -> Plan:
        teacher = self._teachers.get(self.table.columns[cell.column].teacher)
        folder = self.folder / "runs" / f"{_slug(cell)}-{trial}"
        path = None if teacher is None else str(teacher)
        return student_plan(self.table, cell, trial, path, self.scale, output_dir=str(folder), **vars(self.machine))

    def _trial_path(self, cell: Cell, trial: int) -> Path:
        return self.folder / "trials" / f"{_slug(cell)}-{trial}.json"

    # training

    def _groups(self, plans: Sequence[Plan]) -> Iterator[list[Plan]]:
        """Students that can learn from the same batches of the same teacher, so many at a time."""
        alike: dict[str, list[Plan]] = {}
        for plan in plans:
            alike.setdefault(json.dumps([plan.shared(), _compiled(plan)], sort_keys=True, default=str), []).append(plan)
        for members in alike.values():
            for start in range(0, len(members), self.group):
                yield members[start : start + self.group]

    def _train(self, plans: Sequence[Plan]) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            self.say("stopped by time limit; the same command goes on")
            return _TIME_IS_UP
        limit = None if left == math.inf else left
        try:
            return launch([dataclasses.replace(plan, time_limit=limit) for plan in plans])
        except RunFailed as error:
            if not any(_status(plan) == "failed" for plan in plans):
                raise
            self.say(f"warning: {error}")
            return 0
        finally:
            if "torch._dynamo" in sys.modules:  # what was compiled for one group must not count against the next
                sys.modules["torch._dynamo"].reset()

    # teachers

    def _teacher(self, name: str, given: Path | None) -> tuple[int, Path | None]:
        """The file of a teacher, trained where there is none; or the status with which its training stopped."""
        known = self._notes().get("teachers", {}).get(name)
        path = given or (Path(known["file"]) if known else teachers.shipped(name, self.table))
        trained = self.folder / "teachers" / f"{name}.th"
        if path is None or path == trained:
            path = trained
            plan = teacher_plan(
                self.table, name, self.scale, state_dict_path=str(path),
                output_dir=str(self.folder / "teachers" / name), **vars(self.machine),
            )  # fmt: skip
            if not (path.exists() and _status(plan) == "finished"):
                self.say(f"training the teacher {name}")
                status = self._train([plan])
                if status:
                    return status, None
                if _status(plan) == "failed":
                    raise RunFailed(f"the teacher {name} failed; see {plan.output_dir}.")
        digest = digest_of(path)
        if known and known["sha256"] != digest:
            raise UserError(
                f"the students in {self.folder} learn from another {name} ({known['file']}, sha256 "
                f"{known['sha256'][:8]}…) than {path}; choose another --output-dir for this one."
            )
        if not known:
            self.say(f"the teacher {name} is {path}")
            self._note_teacher(name, path, digest)
        return 0, path

    def _note_teacher(self, name: str, path: Path, digest: str) -> None:
        for cell in teachers.cells_of_teacher(self.table, name):
            scale = self.scale if path.parent == self.folder / "teachers" else 1.0
            trial = teachers.trial_of_file(path, self.table, cell.column, self.machine.data_dir, self.machine.device)
            write_trial(self._trial_path(cell, 0), dataclasses.replace(trial, epochs_scale=scale))
        known = self._notes().get("teachers", {}) | {name: {"file": str(path), "sha256": digest}}
        self._write_notes(teachers=known)

    # the folder

    def _enter(self) -> None:
        """One folder, one table, one schedule."""
        notes, now = self._notes(), {"table": self.table.name, "epochs_scale": self.scale}
        for key, value in now.items():
            if notes.get(key, value) != value:
                raise UserError(
                    f"{self.folder} holds results with {key} {notes[key]}, not {value}; choose another --output-dir."
                )
        self._write_notes(**now)

    def _notes(self) -> dict[str, Any]:
        path = self.folder / "reproduction.json"
        try:
            return dict(json.loads(path.read_text())) if path.exists() else {}
        except ValueError:
            raise UserError(f"{path} is damaged; restore it, or choose another --output-dir.") from None

    def _write_notes(self, **entries: Any) -> None:
        atomic_write(self.folder / "reproduction.json", json.dumps(self._notes() | entries, indent=2) + "\n")

    def trials(self) -> list[Trial]:
        """All that are finished here."""
        return [read_trial(path) for path in sorted((self.folder / "trials").glob("*.json"))]

    def _report(self) -> None:
        found = self.trials()
        if found:
            atomic_write(self.folder / "table.md", report.markdown(self.table, found) + "\n")
            atomic_write(self.folder / "trials.jsonl", "".join(json.dumps(trial.to_json()) + "\n" for trial in found))
            report.picture(self.table, found, self.folder / "table.png")


def _slug(cell: Cell) -> str:
    return str(cell).replace(":", "-")


def _status(plan: Plan) -> str | None:
    record = Path(str(plan.output_dir)) / "run.json"
    return json.loads(record.read_text()).get("status") if record.exists() else None


def _compiled(plan: Plan) -> bool | None:
    """How a run was begun, which classmates must have in common; None for one that was not."""
    record = Path(str(plan.output_dir)) / "run.json"
    return json.loads(record.read_text()).get("compiled") if record.exists() else None
