"""An explanation as Markdown that reads well in a terminal too, and as plain values for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ignite_kd.concepts.explanation import Explanation, Number
from ignite_kd.concepts.numbers import (
    ACCURACY,
    INTERVALS,
    NUMBERS,
    about,
    accuracy,
    bases,
    columns,
    comparisons,
    difference,
    engine_note,
    images_of,
    interval,
    methods,
    named,
    over_seeds,
    shown,
)
from ignite_kd.concepts.selection import KEPT
from ignite_kd.markdown import table

__all__ = ["markdown", "to_json"]


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
        lines += [f"## Differences to {bases(found)}, with their {INTERVALS}", "", *differences, ""]
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
            "over seeds": {one.name: _numbers(over_seeds(one.members)) for one in methods(found) if found.groups},
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


def _networks(found: Explanation) -> list[str]:
    names = columns(found)
    rows = [
        [one.name, ", ".join(map(str, one.epochs)), *(shown(found, name, one.numbers.get(name)) for name in names)]
        for one in found.networks
    ]
    head = ["network", "epochs", *names]
    if any(map(accuracy, found.networks)):
        head.insert(1, ACCURACY)
        for row, one in zip(rows, found.networks, strict=True):
            row.insert(1, accuracy(one) or "–")
    return table(head, rows, words=(0, head.index("epochs")))


def _over_seeds(found: Explanation) -> list[str]:
    names, rows = columns(found), []
    for method, members in methods(found):
        numbers = over_seeds(members)
        rows.append([method, str(len(members)), *(shown(found, name, numbers.get(name)) for name in names)])
    return table(["method", "seeds", *names], rows, words=(0,))


def _differences(found: Explanation) -> list[str]:
    """Of methods; every seed by itself is in explanation.json."""
    rows = []
    for one in comparisons(found):
        apart = {name: difference(found, one.name, name) for name in columns(found)}
        told = [interval(found, name, values) if values else "–" for name, values in apart.items()]
        rows.append([named(one.name, one.members), *told])
    return table(["", *columns(found)], rows, words=(0,)) if rows else []


def _sweep(found: Explanation) -> list[str]:
    names = columns(found)
    rows = [
        [f"{b:g}", name, *(shown(found, number, numbers.get(number)) for number in names)]
        for b, networks in found.sweep.items()
        for name, numbers in networks.items()
    ]
    return table(["margin", "network", *names], rows, words=(1,))


def _fates(found: Explanation) -> list[str]:
    known = list(dict.fromkeys([KEPT, *(reason for one in found.networks for reason in one.fates)]))
    rows = [[one.name, *(str(one.fates.get(reason, 0)) for reason in known)] for one in found.networks]
    return table(["network", *known], rows, words=(0,))


def _data(found: Explanation) -> str:
    told = found.settings.get("data") or {}
    return f"{told.get('dataset', 'the data')}" + (f" ({told['part']})" if told.get("part") else "")


def _caption(found: Explanation) -> str:
    words = [
        "Mean ± standard deviation over images, at the last checkpoint (D and rho over all of them).",
        f"A concept is a cell that is discarded less than the ground by {found.margin:.3g} nats ({found.margin_rule}).",
    ]
    if found.settings.get("masks"):
        words.append(f"Masks: {found.settings['masks']}.")
    words.append(engine_note(found) or "Engine: sampled.")
    if found.noise is not None:
        noises = f"{found.noises} noises at the last checkpoint of {found.networks[0].name}"
        words.append(f"Noise alone ({noises}, as if they were epochs) gives rho {about(found)}{found.noise:.3f}.")
    return " ".join(words)


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
