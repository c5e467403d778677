"""Trials that were finished in another folder or on another machine: several may fill one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ignite_kd.errors import UserError
from ignite_kd.tables.table import Cell, Table
from ignite_kd.tables.trial import Trial, read_lines, write_trial

__all__ = ["Elsewhere"]


class Elsewhere:
    """What lies in other folders' `trials.jsonl`; of a trial that several have, the first that fits counts."""

    def __init__(self, files: Iterable[str], table: Table, scale: float) -> None:
        self._found: dict[tuple[Cell, int], list[tuple[Trial, Path]]] = {}
        for path in map(Path, files):
            if not path.is_file():
                raise UserError(f"--trials-from {path} is no file; name the trials.jsonl of a folder that was filled.")
            fitting = [t for t in read_lines(path) if (t.table, t.epochs_scale) == (table.name, scale)]
            if not fitting:
                raise UserError(f"--trials-from {path} holds none of {table.name} with {scale:g} × its epochs.")
            for trial in fitting:
                self._found.setdefault((trial.cell, trial.trial), []).append((trial, path))

    def take_over(self, cells: Sequence[Cell], number: int, identity: dict[str, Any], to: Path) -> bool:
        """Copy a trial of the first of these cells, or else of another, which are of the same training; False where
        nobody has it. An error where all that there are were trained with other settings."""
        refused = []
        for trial, path in (known for cell in cells for known in self._found.get((cell, number), ())):
            changed = trial.differs_from(identity)
            if not changed:
                write_trial(to, dataclasses.replace(trial, row=cells[0].row, column=cells[0].column))
                return True
            refused.append(f"trial {number} of {trial.cell} in {path} was trained with other settings: {changed[0]}")
        if refused:
            raise UserError(f"{refused[0]}; leave that --trials-from out to train it here.")
        return False
