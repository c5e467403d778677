"""An explanation as Markdown that reads well in a terminal too, and as plain values for machines."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ignite_kd.concepts.conclusion import NUMBERS
from ignite_kd.concepts.explanation import Explanation, Number
from ignite_kd.concepts.numbers import images_of
from ignite_kd.concepts.selection import KEPT
from ignite_kd.markdown import table

__all__ = ["markdown", "to_json"]

_SHOWN = ("N_fg", "N_bg", "ratio", "D", "rho", "rho_trained")
_UNMASKED = ("N", "D", "rho_all")
_TITLES = {
    "N_fg": "N_fg",
    "N_bg": "N_bg",
    "D": "D_mean ± D_std",
    "rho": "ρ",
    "rho_all": "ρ",
    "rho_trained": "ρ, trained",
}
_DIGITS = {"N_fg": 2, "N_bg": 2, "N": 2}


def markdown(found: Explanation, whole: bool = True) -> str:
    """The tables; where it need not be `whole`, without those of other margins."""
    one = found.networks[0]
    several = f"{len(found.networks)} network{'s' * (len(found.networks) > 1)}"
    lines = [f"# What {several} learned: `{one.layer}`, {images_of(found)} of {_data(found)}", ""]
    lines += [*_networks(found), "", _caption(found), ""]
    if found.groups:
        lines += ["## Over seeds (mean ± standard deviation)", "", *_over_seeds(found), ""]
    differences = _differences(found)
    if differences:
        lines += [f"## Differences to {_first(found)} (95 % interval over images)", "", *differences, ""]
    if whole:
        lines += ["## Other margins", "", *_sweep(found), ""]
    lines += ["## Candidates", "", *_fates(found), ""]
    if found.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in found.notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_json(found: Explanation) -> dict[str, Any]:
    """All but pictures and maps, which lie in the runs' `concepts/`; None for what is no number."""
    networks = {}
    for one in found.networks:
        networks[one.name] = {
            "about": one.about,
            "layer": one.layer,
            "epochs": one.epochs,
            "distances": one.distances,
            "background level": one.level,
            "counts": {"foreground": one.foreground, "background": one.background, "total": one.total},
            "speed": None if one.speed is None else one.speed._asdict(),
            "background speed": None if one.background_speed is None else one.background_speed._asdict(),
            "stability": one.stability,
            "candidates": one.fates,
            "never reached the threshold": one.never,
            "numbers": _numbers(one.numbers),
        }
    plain: dict[str, Any] = _plain(
        {
            "networks": networks,
            "images": found.names,
            "margin": found.margin,
            "margin rule": found.margin_rule,
            "engine": found.engine,
            "deviation from the sampled engine": found.deviation,
            "stability under noise alone": found.noise,
            "differences": found.differences,
            "groups": found.groups,
            "over seeds": {name: _numbers(numbers) for name, numbers in _seeds(found).items()},
            "other margins": {
                f"{b:g}": {name: _numbers(numbers) for name, numbers in networks.items()}
                for b, networks in found.sweep.items()
            },
            "notes": found.notes,
            "settings": found.settings,
            "what is what": NUMBERS,
        }
    )
    return plain


def _columns(found: Explanation) -> list[str]:
    known = {name for one in found.networks for name in one.numbers}
    return [name for name in (_SHOWN if found.foreground is not None else _UNMASKED) if name in known]


def _networks(found: Explanation) -> list[str]:
    columns = _columns(found)
    head = ["network", "epochs", *(_TITLES.get(name, name) for name in columns)]
    head += ["D_var"] if "D" in columns else []
    rows = []
    for one in found.networks:
        row = [one.name, ", ".join(map(str, one.epochs)), *(_pair(name, one.numbers.get(name)) for name in columns)]
        rows.append(row + ([_form("D", None if one.speed is None else one.speed.variance)] if "D" in columns else []))
    return table(head, rows, words=(0, 1))


def _seeds(found: Explanation) -> dict[str, dict[str, Number]]:
    """Method → its numbers, mean and standard deviation over its seeds."""
    by_name = {one.name: one.numbers for one in found.networks}
    grouped = {name for members in found.groups.values() for name in members}
    methods = found.groups | {name: [name] for name in by_name if name not in grouped}
    values: dict[str, dict[str, Number]] = {}
    for method, members in methods.items() if found.groups else ():
        values[method] = {}
        for number in NUMBERS:
            told = [by_name[member][number] for member in members if number in by_name[member]]
            if len(told) == len(members):
                values[method][number] = _spread([each.value for each in told])
                if number == "D":
                    values[method]["D_std"] = _spread([each.spread for each in told])
    return values


def _spread(values: Sequence[float | None]) -> Number:
    told = [value for value in values if value is not None]
    return Number(statistics.mean(told) if told else None, statistics.stdev(told) if len(told) > 1 else None)


def _over_seeds(found: Explanation) -> list[str]:
    columns = _columns(found)
    if "D" in columns:
        columns.insert(columns.index("D") + 1, "D_std")
    titles = _TITLES | {"D": "D_mean"}
    rows = []
    for method, numbers in _seeds(found).items():
        count = len(found.groups.get(method, [method]))
        rows.append([method, str(count), *(_pair(name, numbers.get(name)) for name in columns)])
    return table(["method", "seeds", *(titles.get(name, name) for name in columns)], rows, words=(0,))


def _differences(found: Explanation) -> list[str]:
    told: dict[str, dict[str, tuple[float, float, float]]] = {}
    for key, values in found.differences.items():
        name, _, number = key.rpartition(": ")
        told.setdefault(name, {})[number] = values
    if found.groups:  # else every seed by itself: explanation.json has them
        grouped = {name for members in found.groups.values() for name in members}
        told = {name: numbers for name, numbers in told.items() if name not in grouped}
    columns = ["N_fg", "N_bg", "N", "ratio", "D_mean", "D_std", "rho", "rho_all"]
    shown = _SHOWN if found.foreground is not None else _UNMASKED
    columns = [
        c for c in columns if (c in shown or c.startswith("D_")) and any(c in numbers for numbers in told.values())
    ]
    rows = [[name, *(_interval(number, numbers.get(number)) for number in columns)] for name, numbers in told.items()]
    return table(["", *(_TITLES.get(name, name) for name in columns)], rows, words=(0,)) if rows else []


def _sweep(found: Explanation) -> list[str]:
    columns = _columns(found)
    rows = [
        [f"{b:g}", name, *(_pair(number, numbers.get(number)) for number in columns)]
        for b, networks in found.sweep.items()
        for name, numbers in networks.items()
    ]
    return table(["margin", "network", *(_TITLES.get(name, name) for name in columns)], rows, words=(1,))


def _fates(found: Explanation) -> list[str]:
    known = list(dict.fromkeys([KEPT, *(reason for one in found.networks for reason in one.fates)]))
    rows = [[one.name, *(str(one.fates.get(reason, 0)) for reason in known)] for one in found.networks]
    return table(["network", *known], rows, words=(0,))


def _first(found: Explanation) -> str:
    first = found.networks[0].name
    return next((name for name, members in found.groups.items() if first in members), first)


def _data(found: Explanation) -> str:
    told = found.settings.get("data") or {}
    return f"{told.get('dataset', 'the data')}" + (f" ({told['part']})" if told.get("part") else "")


def _caption(found: Explanation) -> str:
    words = [
        "Mean ± standard deviation over images, at the last checkpoint (D and ρ over all of them).",
        f"A concept is a cell that is discarded less than the ground by {found.margin:.3g} nats ({found.margin_rule}).",
    ]
    if found.settings.get("masks"):
        words.append(f"Masks: {found.settings['masks']}.")
    engine = f"Engine: {found.engine}"
    words.append(f"{engine}, off the sampled one by {found.deviation}." if found.deviation else f"{engine}.")
    if found.noise is not None:
        words.append(f"Other noise alone, at one checkpoint, gives ρ {found.noise:.3f}.")
    return " ".join(words)


def _pair(name: str, number: Number | None) -> str:
    if number is None or number.value is None:
        return "-"
    return _form(name, number.value) + ("" if number.spread is None else f" ± {_form(name, number.spread)}")


def _interval(name: str, values: tuple[float, float, float] | None) -> str:
    if values is None:
        return "-"
    value, low, high = (f"{each:+.{_DIGITS.get(name, 3)}f}" for each in values)
    return f"{value} [{low}, {high}]"


def _form(name: str, value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{_DIGITS.get(name, 3)}f}"


def _numbers(numbers: Mapping[str, Number]) -> dict[str, Any]:
    return {name: {"value": number.value, "spread": number.spread} for name, number in numbers.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
