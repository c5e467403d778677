"""The numbers of a network in the order in which the released code writes them into its text file."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from ignite_kd.concepts import metrics
from ignite_kd.concepts.explanation import Explained

__all__ = ["results_text"]

_SIDES = {"fore": "foreground", "back": "background"}


def results_text(
    one: Explained,
    foreground: Tensor | None,
    margin: float,
    theta: float,
    parts: Collection[str],
    points: str = "both",
    engine: str = "sampled",
) -> str:
    """A line a number.

    Args:
        foreground: masks of the images on the grid.
        theta: at which mean entropy the maps were taken.
        parts: of `level`, `threshold`, `peak`, `convergence`, `percent`, those that are wanted.
        points: `fore`, `back` or `both`: whose concepts.
        engine: of the maps; all but the sampled one make the numbers inexact.
    """
    sides = {name: where for name, where in _SIDES.items() if points in (name, "both")}
    counts = {"foreground": one.foreground, "background": one.background}
    inexact = "" if engine == "sampled" else f", inexact: by the {engine} engine"
    lines = [f"{one.name}, layer {one.layer}, threshold of the entropy {theta:g}, margin {margin:g}{inexact}"]
    lines.append(f"epochs: {_numbers(torch.tensor(one.epochs), 'd')}")
    if "level" in parts:
        lines.append(f"total background: {_numbers(one.level)}")
    if "threshold" in parts and foreground is not None:
        lines.append(_distribution(one, foreground))
    if "peak" in parts:
        for name, where in sides.items():
            counted = counts[where]
            if counted is not None:
                lines.append(f"{name} knowledge: {_numbers(counted.double().mean(0))}")
        lines.append(f"total knowledge: {_numbers(one.total.double().mean(0))}")
        if one.foreground is not None and one.background is not None:
            ratios = metrics.ratios(one.foreground.double(), one.background.double())
            lines.append(f"ratio: {_numbers(ratios.mean(0))}")
    if "convergence" in parts:
        speeds = {"fore": one.speed, "back": one.background_speed}
        for name in sides:
            speed = speeds[name]
            if speed is not None:
                lines.append(f"{name} max mean, var, slope: {speed.mean:.6g}, {speed.variance:.6g}, {speed.slope:.6g}")
    if "percent" in parts:
        shares = [f"{name} {one.stability[where]:.6g}" for name, where in (sides | {"all": "total"}).items()]
        lines.append(f"percent: {', '.join(shares)}")
    return "\n".join(lines) + "\n"


def _distribution(one: Explained, foreground: Tensor) -> str:
    """How far the object's cells lie below the ground, at all checkpoints: a guide to a margin."""
    below = (one.level.view(-1, 1, 1) - one.maps)[foreground[:, None].expand_as(one.maps)].sort(descending=True).values
    tops = [f"top {share}% {below[: max(1, len(below) * share // 100)].min():.6g}" for share in (10, 5, 1)]
    return f"threshold: mean {below.mean():.6g}, {', '.join(tops)}"


def _numbers(values: Tensor, form: str = ".6g") -> str:
    return " ".join(f"{value:{form}}" for value in values.tolist())
