"""Pictures of what was learned; needs matplotlib, which is an extra."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ignite_kd.concepts import curves
from ignite_kd.concepts.drawing import WIDTH, Picture, add_legend, colour, label, labels, new_axes, style, tidy
from ignite_kd.concepts.explanation import Explanation, Number
from ignite_kd.concepts.heat_maps import heat_maps
from ignite_kd.concepts.numbers import INTERVALS, bases, columns, comparisons, difference, form, methods, over_seeds
from ignite_kd.handlers.plots import new_figure, save_figure

__all__ = ["draw"]


def draw(explanation: Explanation, folder: Path) -> list[Picture]:
    """Write the pictures that there is something to see in, in the order of a report."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (heat_maps, curves.counts, curves.speed, curves.distance, _stability, _differences)
    return [picture for part in parts for picture in part(explanation, folder)]


def _stability(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    kinds = {"rho": ("object", 1.0), "rho_bg": ("ground", 0.55), "rho_all": ("all", 0.3)}
    found = [(name, over_seeds(members)) for name, members in methods(explanation)]
    known = [kind for kind in kinds if any(kind in numbers for _, numbers in found)]
    if not known:
        return
    title = "Stability of the concepts"
    figure = new_figure(width=WIDTH, height=1.5 + 0.2 * len(found) * len(known) + 0.1 * len(found))
    axes = new_axes(figure, title=title, xlabel="kept at the end, of all concepts ever had", xlim=(0, 1))
    height = 0.8 / len(known)
    told = []
    for line, (name, numbers) in enumerate(found):
        for i, kind in enumerate(known):
            value, spread = numbers.get(kind, Number(None, None))
            if value is None:
                continue
            word, alpha = kinds[kind]
            y = line + height * (i - (len(known) - 1) / 2)
            axes.barh(y, value, height * 0.92, color=colour(line), alpha=alpha if len(known) > 1 else 1)
            if spread is not None:
                ends = [max(0.0, value - spread), min(1.0, value + spread)]
                axes.plot(ends, [y, y], color="black", linewidth=1)
            axes.text(1.02, y, f"{word} {value:.2f}", va="center", fontsize=9)  # where the line is not
            told.append(f"{name} {word} {value:.2f}")
    if explanation.noise is not None:
        axes.axvline(explanation.noise, color="black", linestyle="--", linewidth=1.2, label="other noise alone")
        add_legend(figure, axes)
    axes.set_yticks(range(len(found)), labels([name for name, _ in found], 16))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    path = folder / "stability.png"
    save_figure(figure, path)
    reading = "1 means that no concept was ever dropped. "
    if explanation.groups:
        reading += "Black lines are one standard deviation over seeds to either side. "
    if explanation.noise is None:
        reading += "What noise alone would give was not measured."
    else:
        reading += "The dashed line is what noise alone leaves of the concepts of one checkpoint."
        told.append(f"noise alone {explanation.noise:.2f}")
    yield Picture(path, title, reading, f"{title}: {', '.join(told)}.")


def _differences(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    others = [(place, one.name) for place, one in enumerate(comparisons(explanation), 1)]
    base = bases(explanation)
    known = {
        name: [(place, who, d) for place, who in others if (d := difference(explanation, who, name))]
        for name in columns(explanation)
        if name != "D_var"  # goes as D_std does
    }
    known = {name: found for name, found in known.items() if found}
    if not known:
        return
    title = f"Differences to {base}"
    lines = -(-len(known) // 2)
    figure = new_figure(width=WIDTH, height=0.5 + lines * (0.75 + 0.2 * len(others)))
    figure.suptitle(label(title, 50))
    panels = figure.subplots(lines, min(2, len(known)), squeeze=False, sharey=True).flatten()
    for axes, (name, found) in zip(panels, known.items(), strict=False):
        tidy(axes)
        axes.set_title(name, fontsize=10)
        for place, _, (apart, low, high) in found:
            axes.plot([low, high], [place, place], color=colour(place), linewidth=2)
            axes.plot(apart, place, **style(place))
        axes.axvline(0, color="black", linewidth=0.8)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(labelsize=9)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.1)
    for axes in panels[len(known) :]:
        axes.set_visible(False)
    panels[0].set_yticks(range(1, len(others) + 1), labels([who for _, who in others], 16))
    panels[0].set_ylim(len(others) + 0.6, 0.4)
    path = folder / "differences.png"
    save_figure(figure, path)
    told = [f"{who} {name} {d[0]:+{form(name)}}" for name, found in known.items() for _, who, d in found]
    reading = (
        f"Each point is a network's number, or the mean of a method's, less that of {base}, the bar its "
        f"{INTERVALS}; where a bar crosses the line at 0, nothing can be told."
    )
    yield Picture(path, title, reading, f"{title}: {', '.join(told)}.")
