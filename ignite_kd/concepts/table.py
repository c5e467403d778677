"""The three metrics of every network as Markdown."""

from __future__ import annotations

from ignite_kd import markdown
from ignite_kd.concepts.explanation import Explanation
from ignite_kd.concepts.numbers import MEANINGS, difference, images_of, interval, numbers, shown

__all__ = ["columns", "engine_note", "note", "table"]


def columns(explanation: Explanation) -> list[str]:
    """The numbers that some network has, in one order."""
    known = {name for network in explanation.networks for name in numbers(network)}
    return [name for name in MEANINGS if name in known]


def engine_note(explanation: Explanation) -> str:
    """How far off everything is that was made of the maps; empty for the engine that is the measure."""
    if explanation.engine == "sampled":
        return ""
    told = explanation.deviation or "not measured"
    return f"≈: by the {explanation.engine} engine. Deviation of its maps from sampled ones: {told}."


def note(explanation: Explanation) -> str:
    """What the columns mean."""
    means = "; ".join(f"{name}: {MEANINGS[name]}" for name in columns(explanation))
    measure = " D in multiples of the first weights' norm." if "D_mean" in columns(explanation) else ""
    return f"{means}. At the last checkpoint, ± standard deviation over {images_of(explanation)}.{measure}"


def table(explanation: Explanation) -> str:
    """Numbers, and below them the differences to the first network with their intervals."""
    names = columns(explanation)
    first, *others = explanation.networks
    rows = [
        [network.name, *(shown(explanation, name, numbers(network).get(name)) for name in names)]
        for network in explanation.networks
    ]
    lines = [*markdown.table(["network", *names], rows, words=(0,)), "", note(explanation)]
    if engine_note(explanation):
        lines += ["", engine_note(explanation)]
    if others:
        rows = [
            [network.name]
            + [interval(name, found) if (found := difference(explanation, network, name)) else "–" for name in names]
            for network in others
        ]
        lines += ["", f"Differences to {first.name}, 95 % intervals over images:", ""]
        lines += markdown.table(["network", *names], rows, words=(0,))
    return "\n".join(lines) + "\n"
