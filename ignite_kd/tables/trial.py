"""One training of a cell, finished: a JSON file with the result and everything that led to it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from ignite_kd.errors import UserError
from ignite_kd.files import atomic_write
from ignite_kd.plan import Plan
from ignite_kd.run_folder import changes
from ignite_kd.tables.checked import checked
from ignite_kd.tables.table import Cell

__all__ = ["Trial", "mean_and_deviation", "on_its_machine", "percent", "read_lines", "read_trial", "write_trial"]

_OF_THE_MACHINE = ("precision", "compile")

# of the run's record, what a trial keeps: no paths, which mean nothing elsewhere
_KEPT = (
    "identity",
    "quirks",
    "data",
    "parameters",
    "compiled",
    "versions",
    "earlier",
    "started",
    "processes",
    "device",
    "command",
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A training that has ended; one with an `error` has failed, e.g. by a loss that is no number.

    Accuracies are in %, after the last epoch; None where nothing was measured: a failure, a recipe without a test.
    """

    table: str
    row: str
    column: str
    trial: int
    epochs: int
    epochs_scale: float
    accuracy: float | None  # on the test set
    best_accuracy: float | None  # there, of the epoch that was best on validation
    validation_accuracy: float | None
    seconds: float
    students: int  # that shared this time
    error: str | None
    record: dict[str, Any]

    @property
    def cell(self) -> Cell:
        return Cell(self.row, self.column)

    @property
    def minutes(self) -> float:
        """The share of this student in the time of its run."""
        return self.seconds / 60 / max(1, self.students)

    @classmethod
    def of_run(cls, table: str, cell: Cell, trial: int, epochs_scale: float, run: dict[str, Any]) -> Trial:
        """From `run.json` of a run that is finished or has failed."""
        results = run.get("results") or {}
        test, validation = results.get("test") or {}, results.get("validation") or {}
        return cls(
            table=table,
            row=cell.row,
            column=cell.column,
            trial=trial,
            epochs=run.get("epochs") or run["plan"]["max_epochs"],
            epochs_scale=epochs_scale,
            accuracy=percent((test.get("last") or {}).get("accuracy")),
            best_accuracy=percent((test.get("best") or {}).get("accuracy")),
            validation_accuracy=percent(validation.get("last")),
            seconds=run.get("seconds", 0.0),
            students=1 + len(run.get("classmates", [])),
            error=run.get("error") if run["status"] == "failed" else None,
            record={name: run[name] for name in _KEPT if name in run},
        )

    def strays_from(self, plan: Plan) -> list[str]:
        """What the table's plan has otherwise; number format and compilation are the machine's."""
        known, now = self.record.get("identity", {}), plan.identity()
        names = ("student", "teacher", "dataset", "seed", "samples_per_class", "recipe", "terms")
        return changes(known, known | {name: now[name] for name in names})

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    def differs_from(self, identity: dict[str, Any]) -> list[str]:
        """What it was trained with otherwise than would be now. Number format and compilation are the machine's:
        several may fill a table, which tells their devices."""
        known = self.record.get("identity", {})
        return changes(known, on_its_machine(identity, known))


def on_its_machine(identity: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What an identity would be with the number format and compilation of a training that is known."""
    return identity | {name: known[name] for name in _OF_THE_MACHINE if name in known}


def write_trial(path: Path, trial: Trial) -> None:
    atomic_write(path, json.dumps(trial.to_json(), indent=2) + "\n")


def read_trial(path: Path) -> Trial:
    return _read(path.read_bytes(), path)


def read_lines(path: Path) -> list[Trial]:
    """The trials in a file that holds one a line."""
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions.") from None
    return [_read(line, f"{path}, line {number},") for number, line in enumerate(lines, 1) if line.strip()]


def mean_and_deviation(numbers: Iterable[float]) -> tuple[float, float | None]:
    """The deviation is that of a sample; None of one number."""
    numbers = list(numbers)
    return statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None


def _read(text: bytes, where: Path | str) -> Trial:
    try:
        trial = checked(Trial, json.loads(text))
        about = checked(_Record, {name: trial.record[name] for name in get_type_hints(_Record) if name in trial.record})
        if not isinstance(about.identity.get("recipe", {}), dict):
            raise ValueError("its recipe should be an object")
        if not all(isinstance(part.get("device", ""), str) for part in about.earlier):
            raise ValueError("its devices should be texts")
        if not isinstance((about.data or {}).get("digest", ""), str):
            raise ValueError("the digest of its data should be a text")
    except (ValueError, RecursionError):
        raise UserError(f"{where} is no trial, or damaged; restore it, or move it away to train it again.") from None
    return trial


@dataclass(frozen=True)
class _Record:
    """Of what a trial keeps of its run's record, that which is looked into."""

    identity: Mapping[str, Any] = field(default_factory=dict)
    earlier: Sequence[Mapping[str, Any]] = ()
    device: str | None = None
    started_from: Mapping[str, Any] | None = None
    recipe_changes: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None


def percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 4)
