"""What the pictures of concepts share: a network looks the same in all of them, and to any colour vision."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["WIDTH", "Picture", "add_legend", "colour", "label", "labels", "new_axes", "style", "tidy", "whole_epochs"]

WIDTH = 5.2  # inches; narrow, so that a phone shows it
# told apart with any colour vision (Okabe and Ito, 2008; a brown for their yellow, which white ground swallows)
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F5A2A")
_MARKERS = "osD^vPX*"


class Picture(NamedTuple):
    """A file and what its reader has to know."""

    path: Path
    title: str
    reading: str  # how to read it
    alt: str  # what it shows, for who cannot see it
    aside: bool = False  # for who wants to see more than the others show


def colour(place: int) -> str:
    """Of the network at this place of the explanation."""
    return _COLOURS[place % len(_COLOURS)]


def style(place: int) -> dict[str, Any]:
    """Of a network: colour and mark, and from the ninth on another line."""
    return {
        "color": colour(place),
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": ("-", "--", ":")[place // len(_COLOURS) % 3],
        "markersize": 4,
        "clip_on": False,  # marks on an axis stay whole
    }


def label(name: str, most: int = 24) -> str:
    """As matplotlib prints it: its end, no formula, and not hidden as what begins with an underscore."""
    if len(name) > most:
        name = f"…{name[1 - most :]}"
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def labels(names: Sequence[str], most: int = 24) -> list[str]:
    """Without the folders that all are in, and longer than `most` where they would else look alike."""
    folders = zip(*(name.split("/")[:-1] for name in names), strict=False)
    common = len(list(takewhile(lambda level: len(set(level)) == 1, folders)))
    short = [name.split("/", common)[-1] for name in names]
    while most < max(map(len, short)) and len({label(name, most) for name in short}) < len(set(short)):
        most += 1
    return [label(name, most) for name in short]


def new_axes(figure: Any, **settings: Any) -> Any:
    """The only ones of a figure."""
    axes = figure.add_subplot()
    tidy(axes, **settings)
    return axes


def tidy(axes: Any, **settings: Any) -> None:
    """No more lines than are read."""
    axes.set(**settings)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)


def whole_epochs(axes: Any) -> None:
    """No ticks between epochs."""
    axes.xaxis.get_major_locator().set_params(integer=True)


def add_legend(figure: Any, axes: Any) -> None:
    """Below the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels))
    columns = max(1, min(len(labels), 52 // (longest + 6)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=10, frameon=False)
