"""Pictures of a run; needs matplotlib, which is an extra."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from ignite_kd.errors import UserError, first_line
from ignite_kd.files import atomic_write

__all__ = [
    "Published",
    "attempt",
    "available",
    "new_figure",
    "plot_curves",
    "plot_images",
    "plot_published",
    "save_figure",
]

Published = tuple[str, float | None, float, float | None]  # a row, its published number, ours, our standard deviation
_PANELS = {"loss": ("train/loss", "validation/loss"), "accuracy": ("train/accuracy", "validation/accuracy")}
_DASHES = {"train": ":", "validation": "-"}
_Drawn = TypeVar("_Drawn")


def available() -> bool:
    """Whether matplotlib is here."""
    return importlib.util.find_spec("matplotlib") is not None


def attempt(draw: Callable[[], _Drawn], say: Callable[[str], None]) -> _Drawn | None:
    """What `draw` returns; a warning and None where that fails: matplotlib is here but broken, the disk is full, or a
    name holds what it takes for a formula.

    For the end of a long work, which must not fail by its picture.
    """
    try:
        return draw()
    except Exception as error:
        say(f"warning: no picture: {first_line(error)}")
        return None


def plot_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: str | Path) -> None:
    """Loss and accuracy over the epochs, one colour a run: `runs` maps names to what `RunRecord.read` gives."""
    figure = new_figure(width=10, height=4)
    for panel, (title, keys) in enumerate(_PANELS.items(), 1):
        axes = figure.add_subplot(1, 2, panel)
        axes.set(title=title, xlabel="epoch")
        for colour, (name, lines) in enumerate(runs.items()):
            for key in keys:
                points = [(line["epoch"], line[key]) for line in lines if line.get(key) is not None]
                if points:
                    source = key.split("/")[0]
                    form = _DASHES[source] + ("o" if len(points) == 1 else "")  # a line of one point is not seen
                    axes.plot(*zip(*points, strict=True), form, color=f"C{colour}", label=f"{name}, {source}")
        if axes.lines:
            axes.legend(fontsize="small")
    save_figure(figure, path)


def plot_images(images: Tensor, titles: Sequence[str], path: str | Path, columns: int = 10) -> None:
    """A sheet of N × 3 × H × W images, uint8 or in [0, 1], with a title each."""
    rows = -(-len(images) // columns)
    figure = new_figure(width=columns, height=1.25 * rows)
    for place, (image, title) in enumerate(zip(images, titles, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(image.permute(1, 2, 0).cpu().numpy())
        axes.set_title(title, fontsize="small")
        axes.axis("off")
    save_figure(figure, path)


def plot_published(title: str, panels: Mapping[str, Sequence[Published]], path: str | Path) -> None:
    """A panel a column of a table."""
    figure = new_figure(width=max(5, 3.5 * len(panels)), height=1.2 + 0.35 * max(map(len, panels.values())))
    figure.suptitle(title, fontsize="medium")
    explained = next((name for name, rows in panels.items() if any(row[1] is not None for row in rows)), None)
    explained = explained or next(iter(panels))  # one panel tells what the marks are
    for place, (name, rows) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), place)
        axes.set(title=name, xlabel="test accuracy in %")
        known = [(published, line) for line, (_, published, *_) in enumerate(rows) if published is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "D", color="0.6", label="published")
        means, deviations = ([row[i] or 0.0 for row in rows] for i in (2, 3))
        axes.errorbar(means, range(len(rows)), xerr=deviations, fmt="o", color="C0", capsize=3, label="ours")
        axes.set_yticks(range(len(rows)), [row for row, *_ in rows])
        axes.invert_yaxis()
        axes.margins(y=0.2)
        if name == explained:
            axes.legend(fontsize="small")
    save_figure(figure, path)


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches."""
    try:
        from matplotlib.figure import Figure  # without pyplot: no window, no global state
    except ImportError:
        raise UserError("plots need matplotlib; install it with: pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: str | Path) -> None:
    """Write it as a PNG, whole or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    atomic_write(path, content.getvalue())
