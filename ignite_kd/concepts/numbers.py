"""The numbers in which the paper compares two trainings, by the names that tables and differences use."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from ignite_kd.concepts.explanation import Explained, Explanation
from ignite_kd.concepts.metrics import ratios

__all__ = ["FORMS", "MEANINGS", "Value", "difference", "images_of", "interval", "numbers", "shown"]

MEANINGS = {
    "N_fg": "concepts on the object",
    "N_bg": "concepts on the ground",
    "N_total": "concepts",
    "ratio": "part of the concepts that is on the object",
    "D_mean": "distance of the weights where an image has most concepts",
    "D_std": "its standard deviation over images",
    "variance": "its variance over images",
    "rho": "part of all concepts ever had that is there at the end",
}
FORMS = {"N_fg": ".2f", "N_bg": ".2f", "N_total": ".2f", "D_mean": ".3g", "D_std": ".3g", "variance": ".3g"}  # else .3f

_ABOUT = "≈\N{NO-BREAK SPACE}"


class Value(NamedTuple):
    """A number of a network, and its standard deviation over images where it is a mean over them."""

    mean: float
    spread: float | None = None


def numbers(network: Explained) -> dict[str, Value]:
    """Those that are known of it, by their names in `MEANINGS`: counts and ratio at the last checkpoint."""
    found = {}
    if network.foreground is None or network.background is None:
        found["N_total"] = _over_images(network.total)
        of = "total"
    else:
        found["N_fg"] = _over_images(network.foreground)
        found["N_bg"] = _over_images(network.background)
        found["ratio"] = _over_images(ratios(network.foreground, network.background))
        of = "foreground"
    if network.speed is not None:
        found["D_mean"] = Value(network.speed.mean, network.speed.std if len(network.maps) > 1 else None)
        found["D_std"] = Value(network.speed.std)
        found["variance"] = Value(network.speed.variance)
    if of in network.stability:
        found["rho"] = Value(network.stability[of])
    return found


def difference(explanation: Explanation, network: Explained, name: str) -> tuple[float, float, float] | None:
    """To the first network, with the ends of its interval; None where it was not measured."""
    found = explanation.differences.get(f"{network.name}: {name}")
    return found if found is not None and all(map(math.isfinite, found)) else None


def shown(explanation: Explanation, name: str, value: Value | None) -> str:
    """As tables have it; ≈ before what the linear engine makes inexact, a dash for what nobody knows."""
    if value is None or not math.isfinite(value.mean):
        return "–"
    form = FORMS.get(name, ".3f")
    spread = "" if value.spread is None else f" ± {value.spread:{form}}"
    return f"{'' if explanation.engine == 'sampled' else _ABOUT}{value.mean:{form}}{spread}"


def interval(name: str, found: tuple[float, float, float]) -> str:
    """A difference and the ends of its interval, with their signs."""
    form = f"+{FORMS.get(name, '.3f')}"
    apart, low, high = (f"{value:{form}}".replace("-", "\N{MINUS SIGN}") for value in found)
    return f"{apart} ({low} to {high})"


def images_of(explanation: Explanation) -> str:
    """How many there are, in words."""
    count = len(explanation.images)
    return f"{count} image{'s' * (count > 1)}"


def _over_images(values: Tensor) -> Value:
    last = values[:, -1].double()
    return Value(float(last.mean()), float(last.std(correction=0)) if len(last) > 1 else None)
