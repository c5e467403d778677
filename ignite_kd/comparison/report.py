"""A comparison as Markdown that reads well in a terminal too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ignite_kd.comparison.result import Comparison
from ignite_kd.markdown import table

__all__ = ["markdown"]

_MOST_CLASSES = 20  # where not the whole is asked for


def markdown(found: Comparison, whole: bool = True, pictures: Iterable[str] = ()) -> str:
    """Headings, tables and pictures; where it need not be `whole`, the classes that differ most."""
    kept = {"test": "the test set", "validation": "the images kept apart for validation"}[found.part]
    some = f"{found.images} images" if found.images == found.of else f"{found.images} of {found.of} images"
    lines = [f"# {len(found.rows)} run{'s' * (len(found.rows) > 1)} on {found.dataset}", ""]
    lines += ["## What is recorded", "", *_recorded(found), ""]
    lines += [f"## What the last weights do on {kept} ({some})", "", *_measured(found), "", _MEASURED, ""]
    if any(row.alignment for row in found.rows):
        lines += ["## Linear CKA of the stages", "", *_alignments(found), "", _CKA, ""]
    shown = range(len(found.classes)) if whole else _telling_classes(found)
    most = "" if len(shown) == len(found.classes) else f", the {len(shown)} of {len(found.classes)} that differ most"
    lines += [f"## Accuracy by class{most}", "", *_classes(found, shown), ""]
    for name in pictures:
        lines += [f"![{name}]({name})", ""]
    if found.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in found.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _recorded(found: Comparison) -> list[str]:
    head = ["run", "network", "parameters", "loss", "epochs", "minutes",
            "validation last", "best", "test last", "best"]  # fmt: skip
    rows = []
    for row in found.rows:
        told = row.recorded
        epochs = "-" if told.epochs is None else str(told.epochs)
        if told.epochs != told.planned and told.planned is not None:
            epochs += f" of {told.planned}"
        accuracies = (told.validation_last, told.validation_best, told.test_last, told.test_best)
        rows.append(
            [row.name, row.model, f"{row.parameters:,}", told.loss or "-", epochs, _number(told.minutes, "{:.1f}")]
            + [_number(value, "{:.2%}") for value in accuracies]
        )
    return table(head, rows, words=(0, 1, 3))


def _measured(found: Comparison) -> list[str]:
    head = ["run", "accuracy", "NLL", "ECE", "teacher", "agrees", "where it is wrong", "KL", "logits"]
    rows = []
    for row in found.rows:
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
    return table(head, rows, words=(0, 4))


def _alignments(found: Comparison) -> list[str]:
    alignments = {row.name: row.alignment for row in found.rows if row.alignment is not None}
    common = {stage for alignment in alignments.values() for stage in alignment.same()}
    known = dict.fromkeys(stage for alignment in alignments.values() for stage in alignment.other_stages)
    stages = [stage for stage in known if stage in common]
    rows = []
    for name, alignment in alignments.items():
        values = alignment.same()
        rows.append([name, alignment.other, *(_number(values.get(stage), "{:.3f}") for stage in stages)])
    return table(["run", "with", *stages], rows, words=(0, 1))


def _classes(found: Comparison, shown: Sequence[int]) -> list[str]:
    base = next(row for row in found.rows if row.name == found.reference)
    differences = found.differences()
    head = ["class", "images", base.name, *(f"Δ {name}" for name in differences)]
    rows = [
        [found.classes[i], str(found.images_by_class[i]), _number(base.by_class[i], "{:.1%}")]
        + [_number(100 * values[i], "{:+.1f}") for values in differences.values()]
        for i in shown
    ]
    return table(head, rows, words=(0,))


def _telling_classes(found: Comparison) -> list[int]:
    if len(found.classes) <= _MOST_CLASSES:
        return list(range(len(found.classes)))
    base = next(row.by_class for row in found.rows if row.name == found.reference)

    def distance(i: int) -> float:  # of a run alone: how often the class is missed
        apart = [abs(values[i]) for values in found.differences().values()] or [1 - base[i]]
        return max((value for value in apart if math.isfinite(value)), default=0.0)

    return sorted(range(len(found.classes)), key=distance, reverse=True)[:_MOST_CLASSES]


_MEASURED = (
    "NLL: mean negative log-likelihood. ECE: expected calibration error, 15 bins of equal width. Agrees: names the "
    "class that the teacher names; of all images, and of those on which the teacher is wrong. KL: of the network's "
    "probabilities from the teacher's, KL(teacher ‖ network), temperature 1. Logits: their correlation with the "
    "teacher's, the mean over an image's classes taken off."
)
_CKA = "Stages of one name; minibatches of 256, unbiased: 1 is the same arrangement of the images, 0 an unrelated one."


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else form.format(value)
