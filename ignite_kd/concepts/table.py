"""The three metrics of every network as Markdown."""

from __future__ import annotations

from ignite_kd.concepts.explanation import Explanation
from ignite_kd.concepts.numbers import columns, difference, engine_note, interval, numbers, shown
from ignite_kd.markdown import table

__all__ = ["markdown"]


def markdown(found: Explanation) -> str:
    """Numbers, and below them the differences to the first network with their intervals."""
    names = columns(found)
    first, *others = found.networks
    rows = [
        [network.name, *(shown(found, name, numbers(network).get(name)) for name in names)]
        for network in found.networks
    ]
    lines = table(["network", *names], rows, words=(0,))
    if engine_note(found):
        lines += ["", engine_note(found)]
    if others:
        rows = [
            [network.name]
            + [interval(name, d) if (d := difference(found, network.name, name)) else "–" for name in names]
            for network in others
        ]
        lines += ["", f"Differences to {first.name}, 95 % intervals over images:", ""]
        lines += table(["network", *names], rows, words=(0,))
    return "\n".join(lines) + "\n"
