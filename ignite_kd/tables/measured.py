"""What was measured with this package and is shipped with it, one trial a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ignite_kd.errors import UserError
from ignite_kd.tables import report
from ignite_kd.tables.plans import is_of_table
from ignite_kd.tables.table import TEACHER, Cell, Table, get, names
from ignite_kd.tables.trial import Trial, read_lines

__all__ = ["FOLDER", "section", "show", "trials"]

FOLDER = Path(__file__).parent / "measured"


def trials(table: Table) -> list[Trial]:
    """The trials of a table that are shipped."""
    return read_lines(FOLDER / f"{table.name}.jsonl")


def show(table: Table, cells: Sequence[Cell]) -> str:
    """Those of some cells, beside the published numbers."""
    mine = [trial for trial in trials(table) if is_of_table(trial, table, 1.0)]
    shown = table.with_teachers(cells)
    columns = {trial.column for trial in mine if trial.row != TEACHER}  # elsewhere nobody taught
    found = [trial for trial in mine if trial.cell in shown and trial.column in columns]
    if not found:
        raise UserError(f"nothing was measured yet for these cells of {table.name}; train them without --measured.")
    return report.markdown(table, found)


def section() -> str:
    """The read-me's part on measured tables: `python -m ignite_kd.tables.measured` prints it, a test compares."""
    parts = [report.markdown(table, found) for table in map(get, names()) if (found := trials(table))]
    return "\n\n".join(parts) or "Nothing was measured yet."


if __name__ == "__main__":
    print(section())
