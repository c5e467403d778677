"""What a comparison found, in plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ignite_kd.comparison.agreement import Agreement
from ignite_kd.comparison.calibration import Calibration
from ignite_kd.finite import finite

__all__ = ["Alignment", "Comparison", "Recorded", "Row"]


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
        found: dict[str, Any] = finite(asdict(self))
        return found | {"differences_by_class": finite(self.differences())}
