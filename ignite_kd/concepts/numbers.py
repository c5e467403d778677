"""The numbers in which the paper compares trainings: what they are, who is compared with whom, how they are shown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ignite_kd.concepts.explanation import Explained, Explanation, Number

__all__ = [
    "ACCURACY",
    "INTERVALS",
    "NUMBERS",
    "Comparison",
    "Method",
    "about",
    "accuracy",
    "at_margin",
    "bases",
    "boxed",
    "columns",
    "comparisons",
    "difference",
    "engine_note",
    "form",
    "images_of",
    "interval",
    "methods",
    "named",
    "over_seeds",
    "shown",
    "signed",
]

# name → what it is, in the order of the tables
NUMBERS = {
    "N_fg": "concepts on the object",
    "N_bg": "concepts on the ground",
    "N": "concepts",
    "ratio": "part of the concepts that is on the object; as published 0 of an image without any",
    "ratio_some": "the same over the images that have some",
    "D_mean": "distance of the weights where an image has most concepts",
    "D_std": "its standard deviation over images",
    "D_var": "its variance over images",
    "D_bg": "D_mean of the concepts on the ground",
    "D_epochs": "D_mean counted from epoch to epoch",
    "D_whole": "D_mean of all weights up to the layer",
    "rho": "part of all concepts ever had on the object that is there at the end",
    "rho_bg": "rho of the concepts on the ground",
    "rho_all": "part of all concepts ever had that is there at the end",
    "rho_trained": "rho without the untrained weights",
}
INTERVALS = "95 % interval over images, of methods with several seeds over these too"

ACCURACY = "test accuracy"

_MASKED = ("N_fg", "N_bg", "ratio", "ratio_some", "D_mean", "D_std", "D_var", "rho", "rho_trained")
_UNMASKED = ("N", "D_mean", "D_std", "D_var", "rho_all")
_ABOUT = "≈\N{NO-BREAK SPACE}"


def columns(explanation: Explanation) -> list[str]:
    """The numbers that tables show, as far as some network has them; the others are for machines."""
    known = {
        name
        for network in explanation.networks
        for name, number in network.numbers.items()
        if number.value is not None and math.isfinite(number.value)
    }
    told = [network.numbers for network in explanation.networks if "ratio" in network.numbers]
    if all(numbers.get("ratio_some") == numbers["ratio"] for numbers in told):  # no image was without a concept
        known.discard("ratio_some")
    return [name for name in (_UNMASKED if explanation.foreground is None else _MASKED) if name in known]


def accuracy(network: Explained) -> str:
    """On the test set; empty where nobody knows it."""
    value = network.about.get(ACCURACY)
    return f"{value:.1%}" if isinstance(value, (int, float)) else ""


class Method(NamedTuple):
    """Networks that differ by the seed alone; or one, by its own name."""

    name: str
    members: list[Explained]


def methods(explanation: Explanation) -> list[Method]:
    """All of them, in the order of their first networks."""
    group_of = {member: group for group, members in explanation.groups.items() for member in members}
    found: dict[str, list[Explained]] = {}
    for network in explanation.networks:
        found.setdefault(group_of.get(network.name, network.name), []).append(network)
    return [Method(name, members) for name, members in found.items()]


def over_seeds(members: Sequence[Explained]) -> dict[str, Number]:
    """Mean and standard deviation of the numbers that all of them have."""
    found = {}
    for name in NUMBERS:
        values = [one.numbers.get(name, Number(None, None)).value for one in members]
        told = [value for value in values if value is not None and math.isfinite(value)]
        if len(told) == len(members):
            found[name] = Number(statistics.mean(told), statistics.stdev(told) if len(told) > 1 else None)
    return found


class Comparison(NamedTuple):
    """What is held against what: networks, or methods, of whose seeds the mean is taken."""

    name: str
    members: list[Explained]
    base_name: str
    base: list[Explained]

    def value(self, number: str, of_base: bool = False) -> float | None:
        """None where one of them lacks it."""
        return over_seeds(self.base if of_base else self.members).get(number, Number(None, None)).value


def comparisons(explanation: Explanation) -> list[Comparison]:
    """Every method with the first one; a network that is a method's only one with the first network."""
    base, *others = methods(explanation)
    first = explanation.networks[0]
    return [Comparison(*one, *(base if len(one.members) > 1 else (first.name, [first]))) for one in others]


def bases(explanation: Explanation) -> str:
    """What the others are compared with, in words; empty where there are no others."""
    return " or ".join(dict.fromkeys(named(one.base_name, one.base) for one in comparisons(explanation)))


def at_margin(explanation: Explanation, margin: float) -> Explanation:
    """With the numbers of another margin of its sweep; of their differences no intervals are known."""
    numbers = explanation.sweep[margin]
    networks = [replace(one, numbers=numbers.get(one.name, {})) for one in explanation.networks]
    return replace(explanation, networks=networks, margin=margin, differences={})


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
    spread = "" if number.spread is None else f" ± {number.spread:{form(name)}}"
    return f"{about(explanation)}{number.value:{form(name)}}{spread}"


def interval(explanation: Explanation, name: str, found: tuple[float, float, float]) -> str:
    """A difference and the ends of its interval, with their signs."""
    apart, low, high = (signed(name, value) for value in found)
    return f"{about(explanation)}{apart} ({low} to {high})"


def about(explanation: Explanation) -> str:
    """What stands before a number that the linear engine makes inexact."""
    return "" if explanation.engine == "sampled" else _ABOUT


def signed(name: str, value: float) -> str:
    """A difference, which has its sign."""
    return f"{value:+{form(name)}}".replace("-", "\N{MINUS SIGN}")


def boxed(explanation: Explanation) -> bool:
    """Whether the middle of an image stands for its object."""
    return "box" in str(explanation.settings.get("masks", ""))


def images_of(explanation: Explanation) -> str:
    """How many there are, in words."""
    count = len(explanation.images)
    return f"{count} image{'s' * (count > 1)}"


def named(name: str, members: Sequence[Explained]) -> str:
    """A method says of how many seeds it is the mean."""
    return f"{name} (mean of {len(members)} seeds)" if len(members) > 1 else name


def form(name: str) -> str:
    """How many digits a number has."""
    return ".2f" if name.startswith("N") else ".3f"
