"""What changes through training, drawn as curves: one a method, the mean over its seeds where there are several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ignite_kd.concepts.drawing import WIDTH, Picture, add_legend, colour, labels, new_axes, style, tidy, whole_epochs
from ignite_kd.concepts.explanation import Explained, Explanation
from ignite_kd.concepts.metrics import best_checkpoints, ratios
from ignite_kd.concepts.numbers import Method, methods
from ignite_kd.handlers.plots import new_figure, save_figure

__all__ = ["counts", "distance", "speed"]

_BANDS = 3  # curves; more of them hide each other


class _Curve(NamedTuple):
    """A mean over seeds, whose spread is over these; or one run, whose spread is over images."""

    place: int
    name: str
    members: list[Explained]
    across: Tensor
    mean: Tensor
    spread: Tensor | None
    runs: list[tuple[Tensor, Tensor]]  # what it is the mean of


def counts(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    said: dict[str, tuple[str, Callable[[Explained], Tensor | None]]] = {
        "object": ("Concepts on the object by epoch", lambda n: n.foreground),
        "ground": ("Concepts on the ground by epoch", lambda n: n.background),
        "all": ("Concepts by epoch", lambda n: n.total if n.foreground is None else None),
        "ratio": ("Part of the concepts that is on the object", _ratios),
    }
    for name, (title, values) in said.items():
        whole = name != "ratio"
        found = _curves(methods(explanation), lambda n, of=values: (_epochs(n), of(n)))  # type: ignore[misc]
        if all(len(curve.across) < 2 for curve in found):  # a point is no curve; the tables have it
            continue
        figure = new_figure(width=WIDTH, height=3.6)
        axes = new_axes(figure, title=title, xlabel="epoch", ylabel="concepts an image" if whole else "part")
        _draw(axes, found, most=math.inf if whole else 1.0)
        axes.set_ylim(bottom=0, top=None if whole else 1.02)
        whole_epochs(axes)
        add_legend(figure, axes)
        save_figure(figure, folder / f"{name}.png")
        last = ", ".join(f"{curve.name} {float(curve.mean[-1]):.2f}" for curve in found)
        reading = f"Each line is the mean over images after each kept epoch. {_reading(found)}"
        yield Picture(folder / f"{name}.png", title, reading, f"{title}; at the end: {last}.")


def speed(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    masked = explanation.foreground is not None
    found = _curves(methods(explanation), lambda n: (_way(n), n.counted))
    if not found:
        return
    title = f"Concepts{' on the object' if masked else ''} by distance of the weights"
    figure = new_figure(width=WIDTH, height=4.8)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    tidy(above, title=title, ylabel="concepts an image")
    tidy(below, ylabel="images", xlabel="distance of the weights, in first norms")
    _draw(above, found, most=math.inf, bands=False)
    bests = [
        [best for n in curve.members if (way := _way(n)) is not None for best in way[_best(n)].tolist()]
        for curve in found
    ]
    above.set_ylim(bottom=0)
    furthest = max(float(x.max()) for curve in found for x in (curve.across, *(x for x, _ in curve.runs))) or 1.0
    below.hist(bests, bins=12, range=(0, furthest), color=[colour(curve.place) for curve in found])
    below.yaxis.get_major_locator().set_params(integer=True)
    add_legend(figure, above)
    save_figure(figure, folder / "speed.png")
    means = ", ".join(f"{c.name} {sum(best) / len(best):.3f}" for c, best in zip(found, bests, strict=True))
    yield Picture(
        folder / "speed.png",
        title,
        "Above, concepts by how far the layer's weights had moved; below, at which distance how many images had most "
        f"of them. Bars far left: learned early; all in one place: learned at once. {_reading(found, bands=False)}",
        f"{title}; images have most of them at, in the mean: {means}.",
    )


def distance(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    found = _curves(methods(explanation), lambda n: (_epochs(n), None if (way := _way(n)) is None else way[None]))
    if not found:
        return
    title = "Distance of the weights by epoch"
    figure = new_figure(width=WIDTH, height=3.6)
    axes = new_axes(figure, title=title, xlabel="epoch", ylabel="distance, in first norms")
    _draw(axes, found, most=math.inf)
    axes.set_ylim(bottom=0)
    whole_epochs(axes)
    add_legend(figure, axes)
    save_figure(figure, folder / "distance.png")
    last = ", ".join(f"{curve.name} {float(curve.mean[-1]):.3f}" for curve in found)
    reading = "How far the layer's weights have gone, step by step and never back, as multiples of their first norm. "
    reading = f"{reading}{_reading(found)}".strip()
    yield Picture(folder / "distance.png", title, reading, f"{title}; at the end: {last}.")


def _curves(found: Sequence[Method], read: Callable[[Explained], tuple[Tensor | None, Tensor | None]]) -> list[_Curve]:
    """`read` gives where a network's values stand, and images × places of them."""
    curves = []
    for place, (name, members) in enumerate(found):
        known = [(n, x.double(), y.double()) for n in members for x, y in [read(n)] if x is not None and y is not None]
        if len(known) > 1 and len({len(x) for _, x, _ in known}) == 1:
            runs = [(x, y.mean(0)) for _, x, y in known]
            across, means = (torch.stack(values) for values in zip(*runs, strict=True))
            curves.append(
                _Curve(place, name, [n for n, *_ in known], across.mean(0), means.mean(0), means.std(0), runs)
            )
        else:  # one run; or runs that kept other epochs, each by itself
            for n, x, y in known:
                spread = y.std(0, correction=0) if len(y) > 1 else None
                curves.append(_Curve(place, n.name, [n], x, y.mean(0), spread, []))
    return curves


def _draw(axes: Any, curves: Sequence[_Curve], most: float, bands: bool = True) -> None:
    for curve, short in zip(curves, labels([curve.name for curve in curves]), strict=True):
        told = f"{short}, {len(curve.runs)} seeds" if curve.runs else short
        axes.plot(curve.across, curve.mean, **style(curve.place), label=told)
        for x, y in curve.runs:
            axes.plot(x, y, color=colour(curve.place), linewidth=0.7, alpha=0.4)
        if not bands or len(curves) > _BANDS or curve.spread is None:
            continue
        lower, upper = (curve.mean - curve.spread).clamp(min=0), (curve.mean + curve.spread).clamp(max=most)
        if len(curve.across) > 1:
            axes.fill_between(curve.across, lower, upper, color=colour(curve.place), alpha=0.15, linewidth=0)
        else:
            ends = [curve.mean - lower, upper - curve.mean]
            axes.errorbar(curve.across, curve.mean, ends, color=colour(curve.place), alpha=0.5, capsize=4)


def _reading(curves: Sequence[_Curve], bands: bool = True) -> str:
    several = any(curve.runs for curve in curves)
    single = any(not curve.runs and curve.spread is not None for curve in curves)
    words = ["Thick lines are means over seeds, thin ones their runs."] if several else []
    if not (bands and (several or single)):
        pass
    elif len(curves) > _BANDS:
        words.append(f"Bands of more than {_BANDS} lines would hide each other; the tables have the spread.")
    else:
        over = " and ".join(["seeds"] * several + ["images" + " where there is one run" * several] * single)
        words.append(f"The band is one standard deviation over {over} to either side.")
    return " ".join(words)


def _epochs(network: Explained) -> Tensor:
    return torch.tensor(network.epochs)


def _way(network: Explained) -> Tensor | None:
    """The distances, where they are known at two checkpoints or more."""
    return network.distances if network.distances is not None and len(network.distances) > 1 else None


def _best(network: Explained) -> Tensor:
    return best_checkpoints(network.counted)


def _ratios(network: Explained) -> Tensor | None:
    if network.foreground is None or network.background is None:
        return None
    return ratios(network.foreground, network.background)
