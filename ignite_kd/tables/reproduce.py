"""Fill cells of a table: train what is missing, one run for students that can share a teacher; stop and go on."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ignite_kd import models, run_folder
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.files import atomic_write, digest_of
from ignite_kd.handlers import RunRecord, Stopping
from ignite_kd.launch import launch
from ignite_kd.plan import Plan
from ignite_kd.tables import report, teachers
from ignite_kd.tables.buildable import check_losses
from ignite_kd.tables.checked import checked
from ignite_kd.tables.elsewhere import Elsewhere
from ignite_kd.tables.plans import Machine, is_of_table, student_plan, teacher_plan
from ignite_kd.tables.table import TEACHER, Cell, Table
from ignite_kd.tables.trial import Trial, on_its_machine, read_trial, write_trial

__all__ = ["Reproduction"]

_LONGEST = 1000  # times the published epochs


class Reproduction:
    """The work on a table in a folder.

    `trials/` holds a file for each finished training, which is never trained again; `runs/` and `teachers/` are
    ordinary runs, gone on with where they stand; `table.md`, `table.png` and `trials.jsonl` are written anew whenever
    a training has ended.

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
        self.table, self.folder, self.machine = table, folder, machine
        self.scale, self.group, self.given, self.say = scale, group, given, say
        self._elsewhere = Elsewhere(finished, table, scale)
        self._deadline = math.inf if time_limit is None else time.monotonic() + time_limit

    def run(self, cells: Sequence[Cell], trials: Sequence[int]) -> int:
        """Fill these cells with these trials; returns the exit status: 0 when all is there."""
        self._homes = self._trainings()
        check_losses(self.table, cells)
        run_folder.make(self.folder)
        lock = run_folder.lock(self.folder)
        try:
            self._enter()
            try:
                return self._fill(cells, trials)
            finally:
                self._report()
        finally:
            run_folder.leave(self.folder, lock)

    def _fill(self, cells: Sequence[Cell], trials: Sequence[int]) -> int:
        taught = [cell for cell in cells if cell.row == TEACHER or self.table.is_taught(cell)]
        wanted = [self.table.columns[cell.column].teacher for cell in taught]
        given = teachers.given(self.given, dict.fromkeys(wanted), self.table)
        self._teachers = {}
        for name in dict.fromkeys(wanted):
            status, path = self._teacher(name, given.get(name))
            if path is None:
                return status
            self._teachers[name] = path
        missing = list(self._missing(cells, trials))
        plans = {str(plan.output_dir): plan for _, _, plan in missing}  # cells may share a training
        groups = list(self._groups(list(plans.values())))
        self.say(f"{len(plans)} trainings to do, in {len(groups)} runs" if missing else "nothing is left to train")
        for group in groups:
            status = self._train(group)
            for cell, trial, plan in missing:
                if plan in group:
                    self._collect(cell, trial, plan)
            self._report()
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
                path, identity = self._trial_path(cell, trial), run_folder.identity_of(plan)
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
            path = self._trial_path(other, trial)
            if path.exists() and not (known := read_trial(path)).differs_from(identity):
                known = dataclasses.replace(known, row=cell.row, column=cell.column)
                write_trial(self._trial_path(cell, trial), known)
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
            write_trial(self._trial_path(cell, trial), Trial.of_run(self.table.name, cell, trial, self.scale, run))
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{record} is damaged; move its folder away to train it again.") from None
        return True

    def _plan(self, cell: Cell, trial: int) -> Plan:
        teacher = self._teachers.get(self.table.columns[cell.column].teacher)
        folder = self.folder / "runs" / f"{self._homes[cell].slug}-{trial}"
        path = None if teacher is None else str(teacher)
        return student_plan(self.table, cell, trial, path, self.scale, output_dir=str(folder), **vars(self.machine))

    def _trial_path(self, cell: Cell, trial: int) -> Path:
        return self.folder / "trials" / f"{cell.slug}-{trial}.json"

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
            if not all(_has_ended(_record(plan)) for plan in plans):
                raise
            self.say(f"warning: {error}")
        finally:
            if "torch._dynamo" in sys.modules:  # what was compiled for one group must not count against the next
                sys.modules["torch._dynamo"].reset()
        # a student that diverged is a result, of which processes tell by their status
        return 0 if status == 1 and all(_has_ended(_record(plan)) for plan in plans) else status

    # teachers

    def _teacher(self, name: str, given: Path | None) -> tuple[int, Path | None]:
        """The file of a teacher, trained where there is none; or the status with which its training stopped."""
        known = self._known_teacher(name)
        path = given or self._at_hand(name, known)
        trained = self.folder / "teachers" / f"{name}.th"
        if path is None or path == trained:
            path = trained
            plan = teacher_plan(
                self.table, name, self.scale, state_dict_path=str(path),
                output_dir=str(self.folder / "teachers" / name), **vars(self.machine),
            )  # fmt: skip
            if not (path.exists() and self._is_trained(plan)):
                self.say(f"training the teacher {name}")
                status = self._train([plan])
                if status:
                    return status, None
                if _record(plan)["status"] == "failed":
                    raise RunFailed(f"the teacher {name} failed; see {plan.output_dir}.")
        digest = digest_of(path)
        if known and known[1] != digest and self._has_students(name):
            if path == known[0]:
                raise UserError(f"{path} is not what the students here learned from any more; restore it.")
            raise UserError(
                f"the students in {self.folder} learn from another {name} ({known[0]}, sha256 "
                f"{known[1][:8]}…) than {path}; choose another --output-dir for this one."
            )
        self._note_teacher(name, path, digest, new=known is None or known[1] != digest)
        return 0, path

    def _at_hand(self, name: str, known: tuple[Path, str] | None) -> Path | None:
        """The teacher that was chosen before, also where a clone was moved with it; else one that is shipped."""
        if known and (known[0].exists() or known[0].parent == self.folder / "teachers"):
            return known[0]
        shipped = teachers.shipped(name, self.table)
        if known and (shipped is None or digest_of(shipped) != known[1]):
            return known[0]
        return shipped

    def _known_teacher(self, name: str) -> tuple[Path, str] | None:
        """The file and sha256 of the teacher that was chosen before."""
        known = self._notes().get("teachers", {}).get(name)
        return known and (self.folder / known["file"], known["sha256"])

    def _is_trained(self, plan: Plan) -> bool:
        """Whether a teacher's training is finished; an error where it was not that of the table. Its number format
        and compilation may be those of another machine than the students'."""
        record = _record(plan)
        if record.get("status") != "finished":
            return False
        now = on_its_machine(run_folder.identity_of(plan), record.get("identity", {}))
        run_folder.refuse_changes(Path(str(plan.output_dir)), now)
        return True

    def _has_students(self, name: str) -> bool:
        """Whether anything here learned from that teacher."""
        cells = [cell for cell in self._homes if self.table.is_taught(cell)]
        slugs = [cell.slug for cell in cells if self.table.columns[cell.column].teacher == name]
        return any(any(self.folder.glob(f"*/{slug}-[0-9]*")) for slug in slugs)

    def _note_teacher(self, name: str, path: Path, digest: str, new: bool) -> None:
        is_own = path.parent == self.folder / "teachers"
        cells = teachers.cells_of_teacher(self.table, name)
        cells = [cell for cell in cells if new or not self._trial_path(cell, 0).exists()]
        if cells:
            trial = teachers.trial_of_file(path, self.table, self.machine.data_dir, self.machine.device)
            if is_own:
                trial = dataclasses.replace(trial, epochs_scale=self.scale)
            for cell in cells:
                write_trial(self._trial_path(cell, 0), dataclasses.replace(trial, column=cell.column))
            if new:
                self.say(f"the teacher {name} is {path}{_in_brackets(trial)}")
        file = path.relative_to(self.folder) if is_own else path.resolve()  # the folder may be moved
        known = self._notes().get("teachers", {}) | {name: {"file": str(file), "sha256": digest}}
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
            notes = checked(_Notes, json.loads(path.read_bytes())) if path.exists() else None
            if notes and not all({"file", "sha256"} <= known.keys() for known in notes.teachers.values()):
                raise ValueError("a teacher without its file")
            return vars(notes) if notes else {}
        except (ValueError, RecursionError):
            raise UserError(f"{path} is damaged; restore it, or choose another --output-dir.") from None

    def _write_notes(self, **entries: Any) -> None:
        atomic_write(self.folder / "reproduction.json", json.dumps(self._notes() | entries, indent=2) + "\n")

    def trials(self) -> list[Trial]:
        """All that are finished here; not those of a table that was written otherwise when they were trained."""
        paths = sorted((self.folder / "trials").glob("*.json"))
        return [trial for trial in map(read_trial, paths) if is_of_table(trial, self.table, self.scale)]

    def _report(self) -> None:
        found = self.trials()
        there = len(list((self.folder / "trials").glob("*.json")))
        if there > len(found):
            self.say(f"left out {there - len(found)} of {self.folder / 'trials'}: of other settings than the table's")
        apart = _of_other_images(found)
        if apart:
            self.say(f"warning: not all trials learned from the same images: {', '.join(apart)} from others than most")
        if there:
            atomic_write(self.folder / "table.md", report.markdown(self.table, found) + "\n")
            atomic_write(self.folder / "trials.jsonl", "".join(json.dumps(trial.to_json()) + "\n" for trial in found))
            try:
                report.picture(self.table, found, self.folder / "table.png")
            except (UserError, OSError) as error:  # a matplotlib that is there, but cannot be imported
                self.say(f"warning: no picture: {error}")


@dataclass(frozen=True)
class _Notes:
    """What `reproduction.json` holds."""

    table: str
    epochs_scale: float
    teachers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def _refuse_other(path: Path, plan: Plan, identity: Mapping[str, Any]) -> None:
    changed = read_trial(path).differs_from(dict(identity))
    if changed:
        raise UserError(
            f"{path} was trained with other settings: {'; '.join(changed)}; "
            f"choose another --output-dir, or move it and {plan.output_dir} away to train it again."
        )


def _of_other_images(trials: Sequence[Trial]) -> list[str]:
    """Those whose data has another digest than most have, as a folder of images on another machine may."""
    digests = [(trial, (trial.record.get("data") or {}).get("digest")) for trial in trials]
    counted = Counter(digest for _, digest in digests if digest)
    usual = counted.most_common(1)[0][0] if counted else None
    return [f"trial {trial.trial} of {trial.cell}" for trial, digest in digests if digest not in (None, usual)]


def _in_brackets(teacher: Trial) -> str:
    """How good it is, and after how long: a file that somebody left there may be of one epoch."""
    told = [] if teacher.accuracy is None else [f"{teacher.accuracy:.2f}% on the test set"]
    told += [f"{teacher.epochs} epochs"] if teacher.epochs else []
    return f" ({', '.join(told)})" if told else ""


def _record(plan: Plan) -> dict[str, Any]:
    """What a run says of itself; nothing where it was not begun."""
    return RunRecord(str(plan.output_dir)).load()


def _has_ended(record: Mapping[str, Any]) -> bool:
    """Whether nothing is gained by going on: a full disk, too, makes a run fail, but that may be put right."""
    return record.get("status") == "finished" or (record.get("status") == "failed" and record.get("diverged", True))


def _begun(plan: Plan) -> Any:
    """How a run was begun, which classmates must have in common; nothing for one that was not."""
    record = _record(plan)
    return record.get("compiled"), record.get("data")
