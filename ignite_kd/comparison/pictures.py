"""Pictures of a comparison; needs matplotlib, which is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite_kd.comparison.result import Comparison
from ignite_kd.handlers.plots import new_figure, plot_curves, save_figure

__all__ = ["draw"]

_MOST_NAMES = 30  # of classes along an axis


def draw(found: Comparison, folder: Path) -> list[str]:
    """Write the pictures that there is something to see in; returns their files' names."""
    names = []
    curves = {row.name: row.curves for row in found.rows if row.curves}
    if curves:
        plot_curves(curves, folder / "curves.png")
        names.append("curves.png")
    _classes(found, folder / "classes.png")
    _reliability(found, folder / "reliability.png")
    names += ["classes.png", "reliability.png"]
    if any(row.alignment for row in found.rows):
        _alignments(found, folder / "cka.png")
        names.append("cka.png")
    return names


def _classes(found: Comparison, path: Path) -> None:
    """Each class's accuracy less the reference's, in points; of a run alone, its accuracy."""
    differences = found.differences()
    shown = differences or {found.rows[0].name: found.rows[0].by_class}
    figure = new_figure(width=max(6.0, min(16.0, 0.15 * len(found.classes) * len(shown))), height=4)
    axes = figure.add_subplot()
    axes.set(ylabel=f"points more than {found.reference}" if differences else "accuracy in %")
    width = 0.8 / len(shown)
    for place, (name, values) in enumerate(shown.items()):
        left = [i + width * (place - (len(shown) - 1) / 2) for i in range(len(values))]
        axes.bar(left, [100 * value for value in values], width, label=name)
    axes.axhline(0, color="black", linewidth=0.8)
    if len(found.classes) <= _MOST_NAMES:
        axes.set_xticks(range(len(found.classes)), found.classes, rotation=45, ha="right")
    else:
        axes.set(xlabel="class")
    axes.legend(fontsize="small")
    save_figure(figure, path)


def _reliability(found: Comparison, path: Path) -> None:
    """Accuracy over confidence, bin by bin; what is well calibrated lies on the diagonal."""
    figure, places = _grid(len(found.rows), size=3.2)
    for axes, row in zip(places, found.rows, strict=True):
        bins = len(row.calibration.counts)
        axes.bar([b / bins for b in range(bins)], row.calibration.accuracy, 1 / bins, align="edge", edgecolor="white")
        axes.plot([0, 1], [0, 1], ":", color="black")
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axes.set_title(f"{row.name}\nECE {row.calibration.error:.1%}", fontsize="small")
    save_figure(figure, path)


def _alignments(found: Comparison, path: Path) -> None:
    """Every stage of a run with every stage of its partner."""
    named = {row.name: row.alignment for row in found.rows if row.alignment is not None}
    figure, places = _grid(len(named), size=4)
    for axes, (name, alignment) in zip(places, named.items(), strict=True):
        axes.imshow(alignment.matrix, vmin=0, vmax=1, origin="lower")
        axes.set_xticks(range(len(alignment.other_stages)), alignment.other_stages, rotation=45, ha="right")
        axes.set_yticks(range(len(alignment.stages)), alignment.stages)
        axes.set(xlabel=alignment.other)
        axes.set_title(name, fontsize="small")
        for i, values in enumerate(alignment.matrix):
            for j, value in enumerate(values):
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    save_figure(figure, path)


def _grid(n: int, size: float) -> tuple[Any, list[Any]]:
    """A figure with `n` axes, four in a row."""
    columns, rows = min(n, 4), -(-n // 4)
    figure = new_figure(width=columns * size, height=rows * size)
    return figure, [figure.add_subplot(rows, columns, place) for place in range(1, n + 1)]
