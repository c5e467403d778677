"""What a comparison found, in values, and as Markdown that reads well in a terminal too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ignite_kd.comparison.agreement import Agreement
from ignite_kd.comparison.calibration import Calibration

__all__ = ["Alignment", "Comparison", "Recorded", "Row"]

_MOST_CLASSES = 20  # in a terminal


@dataclass(frozen=True)
class Recorded:
    """What a run's record, or a card, says; None where it says nothing."""

    loss: str | None
    epochs: int | None
    planned: int | None
    minutes: float | None
    validation_last: float | None
    validation_best: float | None
    test_last: float | None
    test_best: float | None


@dataclass(frozen=True)
class Alignment:
    """Linear CKA of each of a run's stages (rows) with each of another network's."""

    other: str
    stages: tuple[str, ...]
    other_stages: tuple[str, ...]
    matrix: list[list[float]]

    def same(self) -> dict[str, float]:
        """Of the stages that both networks have, by name."""
        return {
            stage: self.matrix[i][self.other_stages.index(stage)]
            for i, stage in enumerate(self.stages)
            if stage in self.other_stages
        }


@dataclass(frozen=True)
class Row:
    """A run: what is recorded of it, and what was measured of its last weights."""

    name: str
    path: str
    weights: str
    model: str
    parameters: int
    teacher: str | None
    recorded: Recorded
    accuracy: float
    by_class: list[float]
    calibration: Calibration
    agreement: Agreement | None
    alignment: Alignment | None
    curves: list[dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, measured on `images` of the `of` images of a `part` of a data set."""

    dataset: str
    digest: str
    part: str
    images: int
    of: int
    classes: tuple[str, ...]
    images_by_class: list[int]
    reference: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def differences(self) -> dict[str, list[float]]:
        """Run → accuracy by class less that of the reference."""
        base = next(row.by_class for row in self.rows if row.name == self.reference)
        return {
            row.name: [own - other for own, other in zip(row.by_class, base, strict=True)]
            for row in self.rows
            if row.name != self.reference
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values; None for what is no number."""
        found: dict[str, Any] = _plain(asdict(self))
        return found | {"differences_by_class": _plain(self.differences())}

    def markdown(self, whole: bool = True, pictures: Iterable[str] = ()) -> str:
        """Headings, tables and pictures; where it need not be `whole`, the classes that differ most."""
        kept = {"test": "the test set", "validation": "the images kept apart for validation"}[self.part]
        some = f"{self.images} images" if self.images == self.of else f"{self.images} of {self.of} images"
        lines = [f"# {len(self.rows)} run{'s' * (len(self.rows) > 1)} on {self.dataset}", ""]
        lines += ["## What is recorded", "", *self._recorded(), ""]
        lines += [f"## What the last weights do on {kept} ({some})", "", *self._measured(), "", _MEASURED, ""]
        if any(row.alignment for row in self.rows):
            lines += ["## Linear CKA of the stages", "", *self._alignments(), "", _CKA, ""]
        shown = range(len(self.classes)) if whole else self._telling_classes()
        most = "" if len(shown) == len(self.classes) else f", the {len(shown)} of {len(self.classes)} that differ most"
        lines += [f"## Accuracy by class{most}", "", *self._classes(shown), ""]
        for name in pictures:
            lines += [f"![{name}]({name})", ""]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def _recorded(self) -> list[str]:
        head = ["run", "network", "parameters", "loss", "epochs", "minutes",
                "validation last", "best", "test last", "best"]  # fmt: skip
        rows = []
        for row in self.rows:
            told = row.recorded
            epochs = "-" if told.epochs is None else str(told.epochs)
            if told.epochs != told.planned and told.planned is not None:
                epochs += f" of {told.planned}"
            accuracies = (told.validation_last, told.validation_best, told.test_last, told.test_best)
            rows.append(
                [row.name, row.model, f"{row.parameters:,}", told.loss or "-", epochs, _number(told.minutes, "{:.1f}")]
                + [_number(value, "{:.2%}") for value in accuracies]
            )
        return _table(head, rows, left=2)

    def _measured(self) -> list[str]:
        head = ["run", "accuracy", "NLL", "ECE", "teacher", "agrees", "where it is wrong", "KL", "logits"]
        rows = []
        for row in self.rows:
            near = row.agreement
            cells = [row.name, f"{row.accuracy:.2%}", _number(row.calibration.nll, "{:.4f}")]
            cells += [_number(row.calibration.error, "{:.2%}"), row.teacher or "-"]
            cells += [
                _number(None if near is None else getattr(near, name), form)
                for name, form in (
                    ("same", "{:.2%}"),
                    ("same_where_wrong", "{:.2%}"),
                    ("divergence", "{:.4f}"),
                    ("correlation", "{:.4f}"),
                )
            ]
            rows.append(cells)
        return _table(head, rows, left=1)

    def _alignments(self) -> list[str]:
        found = {row.name: row.alignment for row in self.rows if row.alignment is not None}
        stages = list(dict.fromkeys(stage for alignment in found.values() for stage in alignment.same()))
        rows = []
        for name, alignment in found.items():
            values = alignment.same()
            rows.append([name, alignment.other, *(_number(values.get(stage), "{:.3f}") for stage in stages)])
        return _table(["run", "with", *stages], rows, left=2)

    def _classes(self, shown: Sequence[int]) -> list[str]:
        base = next(row for row in self.rows if row.name == self.reference)
        differences = self.differences()
        head = ["class", "images", base.name, *(f"{name} −" for name in differences)]
        rows = [
            [self.classes[i], str(self.images_by_class[i]), _number(base.by_class[i], "{:.1%}")]
            + [_number(100 * values[i], "{:+.1f}") for values in differences.values()]
            for i in shown
        ]
        return _table(head, rows, left=1)

    def _telling_classes(self) -> list[int]:
        if len(self.classes) <= _MOST_CLASSES:
            return list(range(len(self.classes)))
        base = next(row.by_class for row in self.rows if row.name == self.reference)

        def distance(i: int) -> float:  # of a run alone: how often the class is missed
            apart = [abs(values[i]) for values in self.differences().values()] or [1 - base[i]]
            return max((value for value in apart if math.isfinite(value)), default=0.0)

        return sorted(range(len(self.classes)), key=distance, reverse=True)[:_MOST_CLASSES]


_MEASURED = (
    "NLL: mean negative log-likelihood. ECE: expected calibration error, 15 bins of equal width. Agrees: names the "
    "class that the teacher names; of all images, and of those on which the teacher is wrong. KL: of the network's "
    "probabilities from the teacher's, KL(teacher ‖ network), temperature 1. Logits: their correlation with the "
    "teacher's, the mean over an image's classes taken off."
)
_CKA = "Stages of one name; minibatches of 256, unbiased: 1 is the same arrangement of the images, 0 an unrelated one."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Aligned Markdown; the first `left` columns are words."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = [
        "| " + " | ".join(f"{cell:{'<' if i < left else '>'}{widths[i]}}" for i, cell in enumerate(row)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) if i < left else "-" * (width + 1) + ":" for i, width in enumerate(widths))
    return [aligned[0], f"{rule}|", *aligned[1:]]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else form.format(value)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
