"""Pictures of what was learned; needs matplotlib, which is an extra."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from ignite_kd.concepts.drawing import WIDTH, Picture, add_legend, colour, label, new_axes, style, tidy, whole_epochs
from ignite_kd.concepts.explanation import Explained, Explanation
from ignite_kd.concepts.heat_maps import heat_maps
from ignite_kd.concepts.metrics import best_checkpoints, ratios
from ignite_kd.concepts.numbers import FORMS, MEANINGS, comparisons, difference
from ignite_kd.handlers.plots import new_figure, save_figure

__all__ = ["draw"]

_BANDS = 3  # networks; more of them hide each other


def draw(explanation: Explanation, folder: Path) -> list[Picture]:
    """Write the pictures that there is something to see in, in the order of a report."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (heat_maps, _all_counts, _speed, _moved, _stability, _differences)
    return [picture for part in parts for picture in part(explanation, folder)]


def _all_counts(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    said = {
        "object": ("Concepts on the object by epoch", lambda n: n.foreground),
        "ground": ("Concepts on the ground by epoch", lambda n: n.background),
        "all": ("Concepts by epoch", lambda n: n.total if n.foreground is None else None),
        "ratio": ("Part of the concepts that is on the object", _ratios),
    }
    for name, (title, values) in said.items():
        found = [(place, n, v) for place, n in enumerate(explanation.networks) if (v := values(n)) is not None]
        if found:
            yield _curves(folder / f"{name}.png", title, found, whole=name != "ratio")


def _ratios(network: Explained) -> Tensor | None:
    if network.foreground is None or network.background is None:
        return None
    return ratios(network.foreground, network.background)


def _curves(path: Path, title: str, found: Sequence[tuple[int, Explained, Tensor]], whole: bool) -> Picture:
    figure = new_figure(width=WIDTH, height=3.6)
    axes = new_axes(figure, title=title, xlabel="epoch", ylabel="concepts an image" if whole else "part")
    bands = len(found) <= _BANDS
    last = []
    for place, network, values in found:
        mean, spread = values.double().mean(0), values.double().std(0, correction=0)
        axes.plot(network.epochs, mean, **style(place), label=label(network.name))
        if bands:
            paint = {"color": colour(place)}
            lower, upper = (mean - spread).clamp(min=0), (mean + spread).clamp(max=math.inf if whole else 1)
            if len(network.epochs) > 1:
                axes.fill_between(network.epochs, lower, upper, **paint, alpha=0.15, linewidth=0)
            else:
                axes.errorbar(network.epochs, mean, [mean - lower, upper - mean], **paint, alpha=0.5, capsize=4)
        last.append(f"{network.name} {float(mean[-1]):.2f}")
    axes.set_ylim(bottom=0, top=None if whole else 1.02)
    whole_epochs(axes, [network for _, network, _ in found])
    add_legend(figure, axes)
    save_figure(figure, path)
    spread_told = (
        "The band is one standard deviation over images to either side."
        if bands
        else f"Bands of more than {_BANDS} networks would hide each other; the table has the spread."
    )
    reading = f"Each line is the mean over images after each kept epoch. {spread_told}"
    return Picture(path, title, reading, f"{title}; at the end: {', '.join(last)}.")


def _speed(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    moved = _ways(explanation)
    if not moved:
        return
    masked = explanation.foreground is not None
    title = f"Concepts{' on the object' if masked else ''} by distance of the weights"
    figure = new_figure(width=WIDTH, height=4.8)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    tidy(above, title=title, ylabel="concepts an image")
    tidy(below, ylabel="images", xlabel="distance of the weights, in first norms")
    bests, means = [], []
    for place, network, distances in moved:
        counted = network.total if network.foreground is None else network.foreground
        above.plot(distances, counted.double().mean(0), **style(place), label=label(network.name))
        bests.append(distances[best_checkpoints(counted)].tolist())
        means.append(f"{network.name} {sum(bests[-1]) / len(bests[-1]):.3f}")
    above.set_ylim(bottom=0)
    colours = [colour(place) for place, *_ in moved]
    furthest = max(float(distances.max()) for *_, distances in moved) or 1.0
    below.hist(bests, bins=12, range=(0, furthest), color=colours)
    below.yaxis.get_major_locator().set_params(integer=True)
    add_legend(figure, above)
    path = folder / "speed.png"
    save_figure(figure, path)
    yield Picture(
        path,
        title,
        "Above, concepts by how far the layer's weights had moved; below, at which distance how many images had most "
        "of them. Bars far left: learned early; all in one place: learned at once.",
        f"{title}; images have most of them at, in the mean: {', '.join(means)}.",
    )


def _ways(explanation: Explanation) -> list[tuple[int, Explained, Tensor]]:
    """(place, network, distances) of those that are known at two checkpoints or more."""
    known = [(place, n, n.distances) for place, n in enumerate(explanation.networks) if n.distances is not None]
    return [way for way in known if len(way[2]) > 1]


def _moved(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    moved = _ways(explanation)
    if not moved:
        return
    title = "Distance of the weights by epoch"
    figure = new_figure(width=WIDTH, height=3.6)
    axes = new_axes(figure, title=title, xlabel="epoch", ylabel="distance, in first norms")
    for place, network, distances in moved:
        axes.plot(network.epochs, distances, **style(place), label=label(network.name))
    axes.set_ylim(bottom=0)
    whole_epochs(axes, [network for _, network, _ in moved])
    add_legend(figure, axes)
    path = folder / "distance.png"
    save_figure(figure, path)
    last = ", ".join(f"{network.name} {float(distances[-1]):.3f}" for _, network, distances in moved)
    reading = "How far the layer's weights have gone, step by step and never back, as multiples of their first norm."
    yield Picture(path, title, reading, f"{title}; at the end: {last}.", of_maps=False)


def _stability(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    kinds = {"foreground": ("object", 1.0), "background": ("ground", 0.55), "total": ("all", 0.3)}
    known = [
        kind
        for kind in kinds
        if any(math.isfinite(network.stability.get(kind, math.nan)) for network in explanation.networks)
    ]
    if not known:
        return
    title = "Stability of the concepts"
    rows = len(explanation.networks) * len(known)
    figure = new_figure(width=WIDTH, height=1.5 + 0.2 * rows + 0.1 * len(explanation.networks))
    axes = new_axes(figure, title=title, xlabel="kept at the end, of all concepts ever had", xlim=(0, 1))
    height = 0.8 / len(known)
    told = []
    for line, network in enumerate(explanation.networks):
        for i, kind in enumerate(known):
            value, (word, alpha) = network.stability.get(kind, math.nan), kinds[kind]
            if not math.isfinite(value):
                continue
            y = line + height * (i - (len(known) - 1) / 2)
            axes.barh(y, value, height * 0.92, color=colour(line), alpha=alpha if len(known) > 1 else 1)
            axes.text(1.02, y, f"{word} {value:.2f}", va="center", fontsize=9)  # where the line is not
            told.append(f"{network.name} {word} {value:.2f}")
    if explanation.noise is not None:
        axes.axvline(explanation.noise, color="black", linestyle="--", linewidth=1.2, label="other noise alone")
        add_legend(figure, axes)
    axes.set_yticks(range(len(explanation.networks)), [label(network.name, 16) for network in explanation.networks])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    path = folder / "stability.png"
    save_figure(figure, path)
    reading = "1 means that no concept was ever dropped. "
    if explanation.noise is None:
        reading += "What noise alone would give was not measured."
    else:
        reading += "The dashed line is what noise alone leaves of the concepts of one checkpoint."
        told.append(f"noise alone {explanation.noise:.2f}")
    yield Picture(path, title, reading, f"{title}: {', '.join(told)}.")


def _differences(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    places = {network.name: place for place, network in enumerate(explanation.networks)}
    others = [(places[c.members[0].name], c.name) for c in comparisons(explanation)]
    first = explanation.networks[0]
    known = {
        name: [
            (line, place, who, d)
            for line, (place, who) in enumerate(others, 1)
            if (d := difference(explanation, who, name))
        ]
        for name in MEANINGS
        if name != "variance"  # goes as D_std does
    }
    known = {name: found for name, found in known.items() if found}
    if not known:
        return
    title = f"Differences to {first.name}"
    lines = -(-len(known) // 2)
    figure = new_figure(width=WIDTH, height=0.5 + lines * (0.75 + 0.2 * len(others)))
    figure.suptitle(f"Differences to {label(first.name)}")
    columns = min(2, len(known))
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    for axes, (name, found) in zip(panels, known.items(), strict=False):
        tidy(axes)
        axes.set_title(name, fontsize=10)
        for line, place, _, (apart, low, high) in found:
            axes.plot([low, high], [line, line], color=colour(place), linewidth=2)
            axes.plot(apart, line, **style(place))
        axes.axvline(0, color="black", linewidth=0.8)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(labelsize=9)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.1)
    for axes in panels[len(known) :]:
        axes.set_visible(False)
    panels[0].set_yticks(range(1, len(others) + 1), [label(who, 16) for _, who in others])
    panels[0].set_ylim(len(others) + 0.6, 0.4)
    path = folder / "differences.png"
    save_figure(figure, path)
    told = [f"{who} {name} {d[0]:+{FORMS.get(name, '.3f')}}" for name, found in known.items() for *_, who, d in found]
    reading = (
        f"Each point is a network's number less that of {first.name}, the bar its 95 % interval over images; where a "
        "bar crosses the line at 0, nothing can be told."
    )
    yield Picture(path, title, reading, f"{title}: {', '.join(told)}.")
