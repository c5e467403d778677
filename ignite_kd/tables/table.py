"""A table as data: published numbers, their source and protocol, and what is trained for each cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ignite_kd.errors import UserError, unknown
from ignite_kd.tables.checked import checked
from ignite_kd.terms import Term

__all__ = ["TEACHER", "Cell", "Column", "Table", "get", "names"]

TEACHER = "teacher"  # the row of the networks that teach
BENCHMARK = "benchmark"  # a row's losses are those that recipe `crd` publishes for the pair
_PUBLISHED = Path(__file__).parent / "published"


@dataclass(frozen=True, kw_only=True)
class Column:
    """Who teaches whom on how much."""

    teacher: str
    student: str
    samples_per_class: int | None = None
    recipe: str | None = None  # of the students, where it is not the table's


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    row: str
    column: str

    def __str__(self) -> str:
        return f"{self.row}:{self.column}"

    @property
    def slug(self) -> str:
        """Begins the names of its files."""
        return str(self).replace(":", "-")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Read from `published/NAME.json`, or from a file of the user's."""

    name: str
    title: str
    dataset: str
    recipe: str
    columns: Mapping[str, Column]
    losses: Mapping[str, Sequence[str] | str]  # by row: terms beside the labels', as `--loss` has them, or BENCHMARK
    changes: Mapping[str, str] = field(default_factory=dict)  # by row: what it changes in the recipe, `decay=0.1`
    teacher_recipe: str
    teacher_samples_per_class: int | None = None
    source: str = ""
    protocol: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        return [TEACHER, *self.losses]

    def number(self, cell: Cell) -> float | None:
        """What was published, in %; None where nothing was."""
        return self.published.get(cell.row, {}).get(cell.column)

    def is_taught(self, cell: Cell) -> bool:
        """Whether a student learns there from a teacher; one alone, and a teacher, do not."""
        losses = self.losses.get(cell.row, ())
        return losses == BENCHMARK or any(Term.read(word).method != "ce" for word in losses)

    def choose(self, rows: Sequence[str] = (), columns: Sequence[str] = (), cells: Sequence[str] = ()) -> list[Cell]:
        """Cells by rows, by columns (both: where they meet) and one by one (`kd:500`); all where nothing is said.

        A cell that was published as not applicable is chosen only where it is named itself.
        """
        these = [self._known("row", word, self.rows) for word in rows]
        those = [self._known("column", word, self.columns) for word in columns]
        chosen = set()
        if rows or columns or not cells:
            chosen = {Cell(row, column) for row in these or self.rows for column in those or self.columns}
            chosen = {cell for cell in chosen if not self._not_applicable(cell)}
        for word in cells:
            row, colon, column = word.partition(":")
            if not colon:
                raise UserError(
                    f"--cell {word} should read ROW:COLUMN, e.g. {self.rows[-1]}:{next(iter(self.columns))}."
                )
            chosen.add(Cell(self._known("row", row, self.rows), self._known("column", column, self.columns)))
        return [cell for cell in self.cells() if cell in chosen]

    def with_teachers(self, cells: Iterable[Cell]) -> set[Cell]:
        """These cells, and who taught there: a student is as good as its teacher allows."""
        cells = set(cells)
        return cells | {Cell(TEACHER, cell.column) for cell in cells if self.is_taught(cell)}

    def cells(self) -> Iterator[Cell]:
        """Column by column."""
        for column in self.columns:
            for row in self.rows:
                yield Cell(row, column)

    def _not_applicable(self, cell: Cell) -> bool:
        row = self.published.get(cell.row, {})
        return cell.column in row and row[cell.column] is None

    def _known(self, what: str, word: str, possible: Sequence[str] | Mapping[str, Any]) -> str:
        """The name that is meant; methods are written in capitals as often as not."""
        meant = word if word in possible else next((name for name in possible if name.lower() == word.lower()), None)
        if meant is None:
            raise unknown(f"{what} of {self.name}", word, possible)
        return meant


def names() -> list[str]:
    """The tables that come with the package."""
    return sorted(path.stem for path in _PUBLISHED.glob("*.json"))


def get(word: str) -> Table:
    """A table by name, or from a JSON file of the same form as those in `published/`."""
    path = Path(word) if word.endswith(".json") else _PUBLISHED / f"{word}.json"
    if not word.endswith(".json") and word not in names():
        raise unknown("table", word, names())
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name one of {', '.join(names())}, or a file.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}.") from None
    try:
        return _table(content)
    except ValueError as error:
        raise UserError(f"{path} is no table: {error}; see {_PUBLISHED / 'shapes.json'} for one.") from None


def _table(content: Any) -> Table:
    columns = content.get("columns") if isinstance(content, dict) else None
    if isinstance(columns, dict):
        content = content | {"columns": {name: checked(Column, column) for name, column in columns.items()}}
    table = checked(Table, content)
    if not (table.columns and table.losses):
        raise ValueError("it has no columns or no rows")
    if TEACHER in table.losses:
        raise ValueError(f"the row '{TEACHER}' is there by itself")
    for what, said, rows in (("changes", table.changes, [*table.losses]), ("published", table.published, table.rows)):
        for row in said:
            if row not in rows:
                raise ValueError(f"'{row}' in {what} is none of its rows, {', '.join(rows)}")
    for column in {column for row in table.published.values() for column in row}:
        if column not in table.columns:
            raise ValueError(f"'{column}' in published is none of its columns, {', '.join(table.columns)}")
    for name in (table.name, *table.losses, *table.columns):  # of files and in Markdown
        if not re.fullmatch(r"\w[\w.:+-]*", name):
            raise ValueError(f"'{name}' should be a name of letters, digits, _ . : + and -")
    slugs: dict[str, Cell] = {}
    for cell in table.cells():
        other = slugs.setdefault(cell.slug, cell)
        if other != cell:
            raise ValueError(f"the cells {other} and {cell} would have the same files; call one of them otherwise")
    return table
