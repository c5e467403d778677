"""The folder in which a table is filled: where everything lies, what it notes, and what it shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ignite_kd.errors import UserError
from ignite_kd.files import atomic_write
from ignite_kd.handlers import RunRecord, plots
from ignite_kd.plan import Plan
from ignite_kd.tables import report
from ignite_kd.tables.checked import checked
from ignite_kd.tables.plans import is_of_table
from ignite_kd.tables.table import Cell, Table
from ignite_kd.tables.trial import Trial, read_trial

__all__ = ["Place", "record_of"]


class Place:
    """A folder for one table with one schedule.

    `trials/` holds a file for each finished training; `runs/` and `teachers/` are ordinary runs; `table.md`,
    `table.png` and `trials.jsonl` are the report; `reproduction.json` says whose folder this is, and who teaches in it.
    """

    def __init__(self, folder: Path, table: Table, scale: float) -> None:
        self.folder, self.table, self.scale = folder, table, scale

    def trial(self, cell: Cell, number: int) -> Path:
        return self.folder / "trials" / f"{cell.slug}-{number}.json"

    def run(self, cell: Cell, number: int) -> Path:
        return self.folder / "runs" / f"{cell.slug}-{number}"

    def teacher(self, name: str) -> Path:
        """The weights of a teacher that is trained here; its run lies beside, without the suffix."""
        return self.folder / "teachers" / f"{name}.th"

    def enter(self) -> None:
        """Make it this table's folder; an error where it is another's."""
        notes, now = self._notes(), {"table": self.table.name, "epochs_scale": self.scale}
        for key, value in now.items():
            if notes.get(key, value) != value:
                raise UserError(
                    f"{self.folder} holds results with {key} {notes[key]}, not {value}; choose another --output-dir."
                )
        self._write_notes(**now)

    def known_teacher(self, name: str) -> tuple[Path, str] | None:
        """The file and sha256 of the teacher that was chosen before."""
        known = self._notes().get("teachers", {}).get(name)
        return known and (self.folder / known["file"], known["sha256"])

    def note_teacher(self, name: str, path: Path, digest: str) -> None:
        """Remember who teaches here; by a relative path where it lies here, for the folder may be moved."""
        file = path.relative_to(self.folder) if path.parent == self.teacher(name).parent else path.resolve()
        known = self._notes().get("teachers", {}) | {name: {"file": str(file), "sha256": digest}}
        self._write_notes(teachers=known)

    def has_students_of(self, name: str) -> bool:
        """Whether anything here learned from that teacher."""
        cells = [cell for cell in self.table.cells() if self.table.is_taught(cell)]
        slugs = [cell.slug for cell in cells if self.table.columns[cell.column].teacher == name]
        return any(any(self.folder.glob(f"*/{slug}-[0-9]*")) for slug in slugs)

    def trials(self) -> list[Trial]:
        """All that are finished here; no copies under other names, nor those of a table that was written otherwise
        when they were trained."""
        found = [(path, read_trial(path)) for path in self._files()]
        return [
            trial
            for path, trial in found
            if path == self.trial(trial.cell, trial.trial) and is_of_table(trial, self.table, self.scale)
        ]

    def report(self, say: Callable[[str], None]) -> None:
        """Write anew what there is to show."""
        found = self.trials()
        left = len(self._files()) - len(found)
        if left:
            say(f"left out {left} of {self.folder / 'trials'}: copies, or of other settings or cells than the table's")
        if not found:
            return
        atomic_write(self.folder / "table.md", report.markdown(self.table, found) + "\n")
        atomic_write(self.folder / "trials.jsonl", "".join(json.dumps(trial.to_json()) + "\n" for trial in found))
        plots.attempt(lambda: report.picture(self.table, found, self.folder / "table.png"), say)

    def remark(self, say: Callable[[str], None]) -> None:
        """Say what is odd about the trials."""
        apart = _of_other_images(self.trials())
        if apart:
            say(
                f"warning: {len(apart)} of the trials in {self.folder} learned from other images than most, "
                f"e.g. {apart[0]}"
            )

    def _files(self) -> list[Path]:
        return sorted((self.folder / "trials").glob("*.json"))

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


@dataclass(frozen=True)
class _Notes:
    """What `reproduction.json` holds."""

    table: str
    epochs_scale: float
    teachers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def record_of(plan: Plan) -> dict[str, Any]:
    """What a run says of itself; nothing where it was not begun."""
    return RunRecord(str(plan.output_dir)).load()


def _of_other_images(trials: Sequence[Trial]) -> list[str]:
    """Those whose data has another digest than most have, as a folder of images on another machine may."""
    digests = [(trial, (trial.record.get("data") or {}).get("digest")) for trial in trials]
    counted = Counter(digest for _, digest in digests if digest)
    usual = counted.most_common(1)[0][0] if counted else None
    return [f"trial {trial.trial} of {trial.cell}" for trial, digest in digests if digest not in (None, usual)]
