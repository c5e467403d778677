"""Who teaches where a table is filled: a file that was given, one that is shipped, else one that is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ignite_kd import run_folder
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.files import digest_of
from ignite_kd.plan import Plan
from ignite_kd.tables import teachers
from ignite_kd.tables.place import Place, record_of
from ignite_kd.tables.plans import Machine, teacher_plan
from ignite_kd.tables.trial import Trial, on_its_machine, write_trial

__all__ = ["Faculty"]


class Faculty:
    """The teachers of a place, by name; once somebody learned from one, no other takes its name there.

    Args:
        given: the user's files.
        train: trains plans; returns the status with which that stopped, 0 at its end.
    """

    def __init__(
        self,
        place: Place,
        machine: Machine,
        given: Sequence[str],
        train: Callable[[Sequence[Plan]], int],
        say: Callable[[str], None],
    ) -> None:
        self._place, self._table, self._machine = place, place.table, machine
        self._files, self._train, self._say = given, train, say
        self.paths: dict[str, Path] = {}

    def engage(self, names: Iterable[str]) -> int:
        """Have a file of each in `paths`; returns 0, or the status with which a training stopped."""
        names = list(dict.fromkeys(names))
        given = teachers.given(self._files, names, self._table)
        for name in names:
            own, known = self._place.teacher(name), self._place.known_teacher(name)
            path = given.get(name) or self._at_hand(name, known) or own
            if path == own:
                status = self._have_trained(name, path)
                if status:
                    return status
            self.paths[name] = path
            self._install(name, path, known)
        return 0

    def _at_hand(self, name: str, known: tuple[Path, str] | None) -> Path | None:
        """The teacher that was chosen before, also where a clone was moved with it; else one that is shipped."""
        if known and (known[0].exists() or known[0] == self._place.teacher(name)):
            return known[0]
        shipped = teachers.shipped(name, self._table)
        if known and (shipped is None or digest_of(shipped) != known[1]):
            return known[0]
        return shipped

    def _have_trained(self, name: str, path: Path) -> int:
        plan = teacher_plan(
            self._table, name, self._place.scale, state_dict_path=str(path), output_dir=str(path.with_suffix("")),
            **vars(self._machine),
        )  # fmt: skip
        if path.exists() and _is_trained(plan):
            return 0
        self._say(f"training the teacher {name}")
        status = self._train([plan])
        if not status and record_of(plan)["status"] == "failed":
            raise RunFailed(f"the teacher {name} failed; see {plan.output_dir}.")
        return status

    def _install(self, name: str, path: Path, known: tuple[Path, str] | None) -> None:
        """Note that this file teaches here from now on, and how good it is."""
        digest = digest_of(path)
        is_new = known is None or known[1] != digest
        if known and is_new and self._place.has_students_of(name):
            if path == known[0]:
                raise UserError(f"{path} is not what the students here learned from any more; restore it.")
            raise UserError(
                f"the students in {self._place.folder} learn from another {name} ({known[0]}, sha256 "
                f"{known[1][:8]}…) than {path}; choose another --output-dir for this one."
            )
        cells = teachers.cells_of_teacher(self._table, name)
        cells = [cell for cell in cells if is_new or not self._place.trial(cell, 0).exists()]
        if cells:
            trial = teachers.trial_of_file(path, name, self._table, self._machine.data_dir, self._machine.device)
            if path == self._place.teacher(name):
                trial = dataclasses.replace(trial, epochs_scale=self._place.scale)
            for cell in cells:
                write_trial(self._place.trial(cell, 0), dataclasses.replace(trial, column=cell.column))
            if is_new:
                self._say(f"the teacher {name} is {path}{_in_brackets(trial)}")
        self._place.note_teacher(name, path, digest)


def _is_trained(plan: Plan) -> bool:
    """Whether a teacher's training is finished; an error where it was not that of the table. Its number format and
    compilation may be those of another machine than the students'."""
    record = record_of(plan)
    if record.get("status") != "finished":
        return False
    now = on_its_machine(run_folder.identity_of(plan), record.get("identity", {}))
    run_folder.refuse_changes(Path(str(plan.output_dir)), now)
    return True


def _in_brackets(teacher: Trial) -> str:
    """How good it is, and after how long: a file that somebody left there may be of one epoch."""
    told = [] if teacher.accuracy is None else [f"{teacher.accuracy:.2f}% on the test set"]
    told += [f"{teacher.epochs} epochs"] if teacher.epochs else []
    return f" ({', '.join(told)})" if told else ""
