"""What the paper says of distilled students, and whether it holds here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ignite_kd.concepts.explanation import Explained, Explanation, Number
from ignite_kd.concepts.numbers import Comparison, at_margin, comparisons, difference, interval, named, shown, signed

__all__ = [
    "CONTRARY",
    "HOLDS",
    "HYPOTHESES",
    "UNKNOWN",
    "UNTOLD",
    "Claim",
    "judged",
    "sentences",
    "taught",
    "turning",
    "verdict",
]

HOLDS, CONTRARY, UNTOLD, UNKNOWN = "holds", "does not hold", "cannot be told", "was not measured"


@dataclass(frozen=True)
class Claim:
    """That a number of a distilled student is larger, or smaller, than of the same network trained alone."""

    number: str
    larger: bool
    words: str


HYPOTHESES = {  # of the paper, in its order; its abstract and introduction say them of most networks, not of all
    "More concepts": (
        Claim("N_fg", True, "It has more concepts on the object"),
        Claim("N_bg", False, "It has fewer concepts on the ground"),
        Claim("ratio", True, "A larger part of its concepts is on the object"),
    ),
    "Learned at once": (
        Claim("D_mean", False, "It learns its concepts on a shorter way of the weights"),
        Claim("D_std", False, "It learns the concepts of all images at about the same time"),
    ),
    "Fewer detours": (Claim("rho", True, "It keeps a larger part of the concepts that it ever had"),),
}


def verdict(claim: Claim, found: tuple[float, float, float] | None) -> str:
    """Where the interval of the difference contains 0, nothing can be told."""
    if found is None:
        return UNKNOWN
    _, low, high = found
    if low <= 0 <= high:
        return UNTOLD
    return HOLDS if (low > 0) == claim.larger else CONTRARY


def taught(network: Explained) -> bool:
    """Whether its loss has a term that asks a teacher; False where nobody knows the loss."""
    terms = str(network.about.get("loss") or "").split(" + ")
    return any(words[1:2] not in ([], ["ce"]) for words in map(str.split, terms))  # factor, method, options


def judged(explanation: Explanation) -> list[Comparison]:
    """The claims are of those that had a teacher; of all others where nobody is known to have had one."""
    found = comparisons(explanation)
    if not any(map(taught, explanation.networks)):
        return found
    return [one for one in found if all(map(taught, one.members))]


def sentences(explanation: Explanation, claim: Claim) -> Iterator[tuple[str, str, str]]:
    """(name, verdict, its numbers in words) of each network, or method, that is judged."""
    for compared in judged(explanation):
        found = difference(explanation, compared.name, claim.number)
        said = verdict(claim, found)
        yield named(compared.name, compared.members), said, _numbers(explanation, claim.number, compared, found, said)


def turning(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """(whose difference of which number changes its sign with the margin, the differences in words)."""
    found = {explanation.margin: judged(explanation)}
    found |= {b: judged(at_margin(explanation, b)) for b in explanation.sweep}
    for claim in (claim for claims in HYPOTHESES.values() for claim in claims):
        for place, one in enumerate(found[explanation.margin]):
            apart = {}
            for b in sorted(found):
                mine, theirs = (found[b][place].value(claim.number, of_base) for of_base in (False, True))
                if mine is not None and theirs is not None:
                    apart[b] = round(mine - theirs, 3)
            if min(apart.values(), default=0) < 0 < max(apart.values(), default=0):
                told = ", ".join(f"{signed(claim.number, value)} at {b:g}" for b, value in apart.items())
                yield f"{claim.number} of {named(one.name, one.members)}", told


def _numbers(
    explanation: Explanation,
    name: str,
    compared: Comparison,
    found: tuple[float, float, float] | None,
    judged: str,
) -> str:
    mine, theirs = compared.value(name), compared.value(name, of_base=True)
    if mine is None or theirs is None:
        who = [who for who, value in ((compared.name, mine), (compared.base_name, theirs)) if value is None]
        return f"{name} of {' and '.join(who)} is not known."
    here, there = (shown(explanation, name, Number(value, None)) for value in (mine, theirs))
    text = f"{name} is {here} against {there} of {named(compared.base_name, compared.base)}"
    if found is None:
        return f"{text}; no interval of the difference is known."
    reason = {UNTOLD: ", which contains 0", CONTRARY: ", on the other side of 0"}.get(judged, "")
    return f"{text}, a difference of {interval(explanation, name, found)}{reason}."
