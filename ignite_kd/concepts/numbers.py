"""The numbers in which the paper compares trainings, by the names that tables and differences use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ignite_kd.concepts.explanation import Explained, Explanation, Number

__all__ = [
    "FORMS",
    "MEANINGS",
    "Comparison",
    "columns",
    "comparisons",
    "difference",
    "engine_note",
    "images_of",
    "interval",
    "named",
    "numbers",
    "shown",
]

MEANINGS = {
    "N_fg": "concepts on the object",
    "N_bg": "concepts on the ground",
    "N": "concepts",
    "ratio": "part of the concepts that is on the object",
    "D_mean": "distance of the weights where an image has most concepts",
    "D_std": "its standard deviation over images",
    "variance": "its variance over images",
    "rho": "part of all concepts ever had on the object that is there at the end",
    "rho_all": "part of all concepts ever had that is there at the end",
}
FORMS = {"N_fg": ".2f", "N_bg": ".2f", "N": ".2f", "D_mean": ".3g", "D_std": ".3g", "variance": ".3g"}  # else .3f

_ABOUT = "≈\N{NO-BREAK SPACE}"


def numbers(network: Explained) -> dict[str, Number]:
    """Those that are known of it, by their names in `MEANINGS`; without masks those of all cells."""
    names = ("N", "rho_all") if network.foreground is None else ("N_fg", "N_bg", "ratio", "rho")
    found = {name: network.numbers[name] for name in names if name in network.numbers}
    if "D" in network.numbers:
        found["D_mean"] = network.numbers["D"]
        found["D_std"] = Number(network.numbers["D"].spread, None)
    if network.speed is not None:
        found["variance"] = Number(network.speed.variance, None)
    return {name: found[name] for name in MEANINGS if name in found}


def columns(explanation: Explanation) -> list[str]:
    """The numbers that some network has, in one order."""
    known = {name for network in explanation.networks for name in numbers(network)}
    return [name for name in MEANINGS if name in known]


class Comparison(NamedTuple):
    """What is held against what: networks, or methods, of whose seeds the mean is taken."""

    name: str
    members: list[Explained]
    base_name: str
    base: list[Explained]

    def value(self, number: str, of_base: bool = False) -> float | None:
        """None where one of them lacks it."""
        found = [numbers(one).get(number, Number(None, None)).value for one in (self.base if of_base else self.members)]
        known = [value for value in found if value is not None and math.isfinite(value)]
        return sum(known) / len(known) if len(known) == len(found) else None


def comparisons(explanation: Explanation) -> list[Comparison]:
    """Every method with the first one; a network that is a method's only one with the first network."""
    by_name = {network.name: network for network in explanation.networks}
    group_of = {member: group for group, members in explanation.groups.items() for member in members}
    first = explanation.networks[0]
    base = group_of.get(first.name)
    found = []
    for name in dict.fromkeys(group_of.get(name, name) for name in by_name):
        if name in (base, first.name):
            continue
        if base and name in explanation.groups:
            told = base, _members(by_name, explanation.groups[base])
        else:
            told = first.name, [first]
        found.append(Comparison(name, _members(by_name, explanation.groups.get(name, [name])), *told))
    return found


def difference(explanation: Explanation, name: str, number: str) -> tuple[float, float, float] | None:
    """Of a network or a method to the first one, with the ends of its interval; None where it was not measured."""
    found = explanation.differences.get(f"{name}: {number}")
    return found if found is not None and all(map(math.isfinite, found)) else None


def engine_note(explanation: Explanation) -> str:
    """How far off everything is that was made of the maps; empty for the engine that is the measure."""
    if explanation.engine == "sampled":
        return ""
    told = explanation.deviation or "not measured"
    return f"≈: by the {explanation.engine} engine. Deviation of its maps from sampled ones: {told}."


def shown(explanation: Explanation, name: str, number: Number | None) -> str:
    """As tables have it; ≈ before what the linear engine makes inexact, a dash for what nobody knows."""
    if number is None or number.value is None or not math.isfinite(number.value):
        return "–"
    form = FORMS.get(name, ".3f")
    alone = number.spread is None or len(explanation.images) == 1  # one image has no spread
    spread = "" if alone else f" ± {number.spread:{form}}"
    return f"{'' if explanation.engine == 'sampled' else _ABOUT}{number.value:{form}}{spread}"


def interval(name: str, found: tuple[float, float, float]) -> str:
    """A difference and the ends of its interval, with their signs."""
    form = f"+{FORMS.get(name, '.3f')}"
    apart, low, high = (f"{value:{form}}".replace("-", "\N{MINUS SIGN}") for value in found)
    return f"{apart} ({low} to {high})"


def images_of(explanation: Explanation) -> str:
    """How many there are, in words."""
    count = len(explanation.images)
    return f"{count} image{'s' * (count > 1)}"


def named(name: str, members: Sequence[Explained]) -> str:
    """A method says of how many seeds it is the mean."""
    return f"{name} (mean of {len(members)} seeds)" if len(members) > 1 else name


def _members(by_name: dict[str, Explained], names: Sequence[str]) -> list[Explained]:
    return [by_name[name] for name in names]
