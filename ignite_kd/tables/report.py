"""What a table has become: published numbers beside ours, in Markdown and as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ignite_kd.handlers import plots
from ignite_kd.tables.table import TEACHER, Cell, Table
from ignite_kd.tables.teachers import trained_otherwise
from ignite_kd.tables.trial import Trial, mean_and_deviation

__all__ = ["Summary", "markdown", "picture", "summaries"]

_NEAR = 0.5  # percentage points


@dataclass(frozen=True)
class Summary:
    """The trials of a cell as a reader wants them."""

    cell: Cell
    published: float | None
    mean: float | None
    deviation: float | None  # None of a single trial
    validation: float | None
    trials: int
    failed: int
    minutes: float  # of a trial that did not fail, where there is one
    students: int  # that shared a run, at most
    devices: tuple[str, ...]  # of earlier parts of a training, too
    scale: float
    otherwise: bool = False  # trained as the table does not say
    teacher: str = ""  # how its teacher was trained, where that was not as the table says

    @property
    def comparable(self) -> bool:
        """A schedule that was shortened, or is another, is another experiment."""
        return self.scale == 1 and not self.otherwise

    @property
    def schedule(self) -> str:
        """What keeps it from being compared; nothing where it may be."""
        return "" if self.comparable else "trained otherwise" if self.scale == 1 else f"epochs × {self.scale:g}"

    @property
    def difference(self) -> float | None:
        known = self.comparable and self.mean is not None and self.published is not None
        return round(self.mean - self.published, 6) if known else None  # type: ignore[operator]

    @property
    def verdict(self) -> str:
        if not self.comparable:
            return f"{self.schedule}: not compared"
        if self.failed:
            return f"failed in {self.failed} of {self.trials + self.failed} trials"
        if self.mean is None:
            return ""
        if self.difference is None:
            return ""
        outside = "outside, better" if self.difference > 0 else "outside, worse"
        verdict = f"within {_NEAR:g}" if abs(self.difference) <= _NEAR else outside
        if self.deviation is not None and abs(self.difference) <= self.deviation:
            verdict = "within one standard deviation"
        return verdict + (f" (its teacher: {self.teacher})" if self.teacher else "")

    @property
    def ours(self) -> str:
        if self.mean is None:
            return "–"
        return f"{self.mean:.2f}" + (f" ± {self.deviation:.2f}" if self.deviation is not None else "")

    @property
    def count(self) -> str:
        return f"{self.trials}" + (f", {self.failed} failed" if self.failed else "")


def summaries(table: Table, trials: Sequence[Trial]) -> list[Summary]:
    """One for each cell that something was trained for, in the table's order; shortened schedules are apart."""
    trials = _without_idle_teachers(table, trials)
    scales = sorted({trial.epochs_scale for trial in trials}, reverse=True)
    found = [
        _summary(table, cell, mine)
        for cell in table.cells()
        for scale in scales
        if (mine := [trial for trial in trials if trial.cell == cell and trial.epochs_scale == scale])
    ]
    teachers = {summary.cell.column: summary.schedule for summary in found if summary.cell.row == TEACHER}
    return [
        dataclasses.replace(summary, teacher=teachers.get(summary.cell.column, ""))
        if table.is_taught(summary.cell)
        else summary
        for summary in found
    ]


def markdown(table: Table, trials: Sequence[Trial]) -> str:
    """A table a column of the published one; one for all of a search, which does not look at the test set."""
    found = summaries(table, trials)
    if _is_search(found):
        parts = [f"**{table.title}** (validation accuracy in %, last epoch)", _search(table, found)]
    else:
        parts = [f"**{table.title}** (test accuracy in %, last epoch, mean ± standard deviation over trials)"]
        for column in table.columns:
            mine = [summary for summary in found if summary.cell.column == column]
            if mine:
                parts.append(_column(column, mine))
    if any(summary.scale != 1 for summary in found):
        parts.append("Lines with × had more or fewer epochs: these are not the published experiments.")
    parts.append(_protocol(table))
    return "\n\n".join(filter(None, parts))


def picture(table: Table, trials: Sequence[Trial], path: Path) -> bool:
    """Published and ours side by side, a panel a column; False where there is nothing to draw, or no matplotlib."""
    panels: dict[str, list[plots.Published]] = {}
    found = summaries(table, trials)
    for summary in [] if _is_search(found) else found:
        if summary.mean is not None:
            published = summary.published if summary.comparable else None
            row = summary.cell.row + ("" if summary.scale == 1 else f" (epochs × {summary.scale:g})")
            line = (row, published, summary.mean, summary.deviation)
            panels.setdefault(summary.cell.column, []).append(line)
    if panels and plots.available():
        plots.plot_published(table.title, panels, path)
    return bool(panels) and plots.available()


def _without_idle_teachers(table: Table, trials: Sequence[Trial]) -> list[Trial]:
    """A teacher is known in all columns that it may teach in; those where nobody learned are left out if it is shown
    in another."""
    busy = {trial.column for trial in trials if trial.row != TEACHER}
    shown = {table.columns[column].teacher for column in busy}
    return [
        trial
        for trial in trials
        if trial.row != TEACHER or trial.column in busy or table.columns[trial.column].teacher not in shown
    ]


def _column(column: str, found: Sequence[Summary]) -> str:
    lines = [
        f"| {column} | published | ours | trials | difference | validation | minutes | device | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for summary in found:
        published = "" if summary.published is None else f"{summary.published:.2f}"
        difference = "" if summary.difference is None else f"{summary.difference:+.2f}"
        shared = f" (of {summary.students} at once)" if summary.students > 1 else ""
        minutes = f"{summary.minutes:.1f}{shared}" if summary.minutes else ""
        validation = "" if summary.validation is None else f"{summary.validation:.2f}"
        cells = (summary.cell.row, published, summary.ours, summary.count, difference, validation, minutes,
                 ", ".join(summary.devices), summary.verdict)  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _is_search(found: Sequence[Summary]) -> bool:
    """Whether no student was tested, only validated."""
    students = [summary for summary in found if summary.cell.row != TEACHER]
    return any(s.validation is not None for s in students) and all(s.mean is None for s in students)


def _search(table: Table, found: Sequence[Summary]) -> str:
    """All columns side by side; bold is the best one of each row that never failed."""
    found = [summary for summary in found if summary.cell.row != TEACHER]
    shown = {(summary.cell.row, _of_scale(summary)): summary for summary in found}
    rows = [row for row in table.rows if any(row == name for name, _ in shown)]
    columns = list(dict.fromkeys(_of_scale(summary) for summary in found))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        sound = [shown[row, column] for column in columns if (row, column) in shown and not shown[row, column].failed]
        best = max((s.validation for s in sound if s.validation is not None), default=None)
        cells = [_validated(shown.get((row, column)), best) for column in columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _of_scale(summary: Summary) -> str:
    return summary.cell.column + ("" if summary.scale == 1 else f" (epochs × {summary.scale:g})")


def _validated(summary: Summary | None, best: float | None) -> str:
    if summary is None:
        return ""
    if summary.validation is None:
        return "failed"
    text, trials = f"{summary.validation:.2f}", summary.trials + summary.failed
    if summary.failed:
        return f"{text} ({summary.failed} of {trials} failed)"
    text = f"**{text}**" if summary.validation == best else text
    return text if trials == 1 else f"{text} (of {trials})"


def _protocol(table: Table) -> str:
    told = "; ".join(f"{what}: {how}" for what, how in table.protocol.items())
    return "\n\n".join(f"{what}: {how}." for what, how in (("Source", table.source), ("Protocol", told)) if how)


def _summary(table: Table, cell: Cell, trials: Sequence[Trial]) -> Summary:
    whole = [trial for trial in trials if trial.error is None]  # one that failed may have done so at once
    failed = len(trials) - len(whole)
    tested = [trial.accuracy for trial in trials if trial.accuracy is not None]
    validated = [trial.validation_accuracy for trial in trials if trial.validation_accuracy is not None]
    mean, deviation = mean_and_deviation(tested) if tested else (None, None)
    return Summary(
        cell=cell,
        published=table.number(cell),
        mean=mean,
        deviation=deviation,
        validation=mean_and_deviation(validated)[0] if validated else None,
        trials=len(trials) - failed,
        failed=failed,
        minutes=mean_and_deviation(trial.minutes for trial in whole or trials)[0],
        students=max(trial.students for trial in trials),
        devices=tuple(dict.fromkeys(device for trial in trials for device in _devices(trial))),
        scale=trials[0].epochs_scale,
        otherwise=cell.row == TEACHER and any(trained_otherwise(trial, table) for trial in trials),
    )


def _devices(trial: Trial) -> list[str]:
    record = trial.record
    precision = record.get("precision") or (record.get("identity") or {}).get("precision") or "fp32"
    parts = [*(record.get("earlier") or []), record]
    form = "" if precision == "fp32" else f" ({precision})"
    return [part["device"] + form for part in parts if part.get("device")]
