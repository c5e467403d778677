"""Entropy maps beside their images, through training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ignite_kd.concepts.drawing import Picture, label
from ignite_kd.concepts.explanation import Explained, Explanation
from ignite_kd.concepts.metrics import concepts
from ignite_kd.concepts.numbers import boxed, methods
from ignite_kd.handlers.plots import new_figure, save_figure

__all__ = ["heat_maps"]

_IMAGES, _CHECKPOINTS = 6, 5  # shown, at most
_SCALE = "viridis_r"  # bright: low entropy, where the layer looks


def heat_maps(explanation: Explanation, folder: Path) -> Iterator[Picture]:
    chosen = {network.name: _spread_out(len(network.epochs), _CHECKPOINTS) for network in explanation.networks}
    seen = torch.cat([n.maps[:_IMAGES, chosen[n.name]].flatten() for n in explanation.networks]).double()
    seen = seen[seen.isfinite()]
    # the outermost hundredth would else take the colours from all others
    low, high = (float(seen.quantile(q)) for q in (0.01, 0.99)) if len(seen) else (0.0, 1.0)
    border = "the border of the central box" if boxed(explanation) else "the outline of the object's cells"
    line = "" if explanation.foreground is None else f"; the line is {border}"
    firsts = {members[0].name for _, members in methods(explanation)}
    for place, network in enumerate(explanation.networks, 1):
        path = folder / f"maps-{place}.png"
        save_figure(_maps(explanation, network, chosen[network.name], (low, max(high, low + 1e-3))), path)
        epochs = ", ".join(str(network.epochs[t]) for t in chosen[network.name])
        count = len(explanation.images)
        shown = "all images" if count <= _IMAGES else f"the first {_IMAGES} of {count} images"
        if len(chosen[network.name]) < len(network.epochs):
            shown += f" after epochs {epochs} (kept were {', '.join(map(str, network.epochs))})"
        yield Picture(
            path,
            f"Entropy maps of {network.name}",
            "Bright cells are those that the layer looks at, dark ones those that it discards; dots are concepts"
            f"{line}. Shown are {shown}; all networks are on one scale.",
            f"Entropy maps of {network.name} after epochs {epochs}, beside the images.",
            aside=network.name not in firsts,
        )


def _maps(explanation: Explanation, network: Explained, chosen: list[int], scale: tuple[float, float]) -> Any:
    count, grid = min(_IMAGES, len(explanation.images)), network.maps.shape[-1]
    found = concepts(network.maps[:count], network.level, explanation.margin)
    side = 0.8
    figure = new_figure(width=max(3.0, side * (len(chosen) + 1) + 0.3), height=side * count + 1.3)
    from matplotlib.ticker import MaxNLocator  # after the figure, which says what is missing

    figure.suptitle(label(network.name, 40))
    panels = figure.subplots(count, len(chosen) + 1, squeeze=False)
    area = (0, grid, grid, 0)
    for row, name in enumerate(explanation.names[:count]):
        panels[row, 0].imshow(explanation.images[row].permute(1, 2, 0).numpy(), extent=area)
        panels[row, 0].set_ylabel(label(name, 13), fontsize=7)
        for axes, t in zip(panels[row, 1:], chosen, strict=True):
            shown = axes.imshow(
                network.maps[row, t].numpy(), extent=area, cmap=_SCALE, vmin=scale[0], vmax=scale[1], aspect="equal"
            )
            y, x = (found[row, t].nonzero() + 0.5).unbind(1)
            axes.scatter(x, y, s=130 / grid, color="black", edgecolors="white", linewidths=3 / grid)
        if explanation.foreground is not None:
            for axes in panels[row]:
                _outline(axes, explanation.foreground[row])
        for axes in panels[row]:
            axes.set(xticks=[], yticks=[], xlim=(0, grid), ylim=(grid, 0))
    for axes, title in zip(panels[0], ["image", *(f"epoch {network.epochs[t]}" for t in chosen)], strict=True):
        axes.set_title(title, fontsize=9)
    bar = figure.colorbar(shown, ax=panels, location="bottom", extend="both", aspect=35, pad=0.02)
    bar.locator = MaxNLocator(4)  # more would touch each other beside few checkpoints
    bar.update_ticks()
    bar.set_label("entropy of a cell in nats")
    return figure


def _outline(axes: Any, cells: Tensor) -> None:
    """The border between the object's cells and the others, seen on dark and on bright ground."""
    padded = torch.zeros(cells.shape[0] + 2, cells.shape[1] + 2, dtype=torch.bool)
    padded[1:-1, 1:-1] = cells
    lines = [
        ((c, r), (c, r + 1)) if upright else ((c, r), (c + 1, r))
        for upright, other in (
            (True, padded[1:-1, :-1] ^ padded[1:-1, 1:]),
            (False, padded[:-1, 1:-1] ^ padded[1:, 1:-1]),
        )
        for r, c in other.nonzero().tolist()
    ]
    from matplotlib.collections import LineCollection

    for width, colour in ((2.0, "black"), (0.9, "white")):
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, capstyle="round"))


def _spread_out(count: int, most: int) -> list[int]:
    """So many of `count` places, evenly, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
