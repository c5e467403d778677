"""Trials that were finished in another folder or on another machine: several may fill one table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ignite_kd.errors import UserError
from ignite_kd.tables.table import Cell, Table
from ignite_kd.tables.trial import Trial, read_lines, write_trial

__all__ = ["Elsewhere"]


class Elsewhere:
    """What lies in other folders' `trials.jsonl`; of a trial that several have, the first file's counts."""

    def __init__(self, files: Iterable[str], table: Table, scale: float) -> None:
        self._found: dict[tuple[Cell, int], tuple[Trial, Path]] = {}
        for path in map(Path, files):
            if not path.is_file():
                raise UserError(f"--trials-from {path} is no file; name the trials.jsonl of a folder that was filled.")
            fitting = [t for t in read_lines(path) if (t.table, t.epochs_scale) == (table.name, scale)]
            if not fitting:
                raise UserError(f"--trials-from {path} holds none of {table.name} with {scale:g} × its epochs.")
            for trial in fitting:
                self._found.setdefault((trial.cell, trial.trial), (trial, path))

    def take_over(self, cell: Cell, number: int, identity: dict[str, Any], to: Path) -> bool:
        """Copy a trial; False where nobody has it. An error where it was trained with other settings."""
        found = self._found.get((cell, number))
        if found is None:
            return False
        trial, path = found
        trial.refuse_other(identity, path)
        write_trial(to, trial)
        return True
