"""What was found out, on one page that opens anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite_kd.concepts import page, pictures
from ignite_kd.concepts.drawing import Picture
from ignite_kd.concepts.explanation import Explained, Explanation, Number
from ignite_kd.concepts.hypotheses import HYPOTHESES, judged, sentences, turning
from ignite_kd.concepts.numbers import (
    ACCURACY,
    INTERVALS,
    NUMBERS,
    about,
    accuracy,
    at_margin,
    bases,
    boxed,
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
from ignite_kd.concepts.selection import FROM_EPOCH, KEPT
from ignite_kd.files import atomic_write
from ignite_kd.handlers import plots

__all__ = ["html", "write"]

_HONESTY = (
    "Intervals are over images, and of methods with several seeds over these too: another seed of a single training "
    "may differ by more, and few seeds make an interval too narrow. Of many comparisons some exclude 0 by chance."
)


def write(explanation: Explanation, folder: str | Path) -> None:
    """`report.html` in the folder, and `pictures/` where matplotlib is here."""
    folder = Path(folder)
    drawn = pictures.draw(explanation, folder / "pictures") if plots.available() else None
    atomic_write(folder / "report.html", html(explanation, drawn))


def html(explanation: Explanation, drawn: Sequence[Picture] | None) -> str:
    """The page; None: pictures could not be drawn."""
    names = [network.name for network in explanation.networks]
    title = f"What {names[0]} learned" if len(names) == 1 else f"What {len(names)} networks learned"
    parts = [
        page.paragraph(_asked(explanation)),
        page.paragraph(_object(explanation)),
        page.paragraph(f"{_engine(explanation.engine)} {engine_note(explanation)}".strip()),
        page.section("Networks", *_networks(explanation.networks)),
        page.section("The numbers", *_numbers(explanation)),
        page.section("What was published, and what holds here", *_hypotheses(explanation)),
        page.section("Other margins", *_margins(explanation)) if explanation.sweep else "",
        page.section("Pictures", *_pictures(explanation, drawn)),
        page.section("Images that were kept", *_images(explanation)),
        page.section("Notes", *map(page.paragraph, explanation.notes)) if explanation.notes else "",
        page.section("Settings", page.details("All settings", _settings(explanation))),
    ]
    return page.page(title, parts)


def _asked(explanation: Explanation) -> str:
    layers = ", ".join(dict.fromkeys(network.layer for network in explanation.networks))
    return (
        f"How much of {images_of(explanation)} does layer {layers} discard, and which cells does it use? "
        f"A concept is a cell whose entropy lies more than {explanation.margin:g} nats "
        f"({explanation.margin_rule}) below that of the ground."
    )


def _object(explanation: Explanation) -> str:
    if explanation.foreground is None:
        return "Object and ground are not told apart: all cells count alike."
    if boxed(explanation):
        return (
            "Object, on this page, is the central box of every image, and ground the rest, whatever is there: "
            "concepts “on the object” are concepts in that box."
        )
    rule = explanation.settings.get("masks")
    return "What is object and what is ground is known from masks of the images" + (f": {rule}." if rule else ".")


def _engine(name: str) -> str:
    if name == "sampled":
        return (
            "The maps are the published ones: noise grows, cell by cell, as long as the feature stays almost as it is."
        )
    return f"The maps are by the {name} engine, which computes from random probes what the published sampling expects."


def _networks(networks: Sequence[Explained]) -> Iterator[str]:
    """A column for what they differ in, test accuracy first; in a sentence what they have in common."""
    about = [
        {ACCURACY: accuracy(one), "layer": one.layer, "kept epochs": ", ".join(map(str, one.epochs))}
        | {key: _told(value) for key, value in one.about.items() if key != ACCURACY}
        for one in networks
    ]
    known = [key for key in dict.fromkeys(key for one in about for key in one) if any(one.get(key) for one in about)]
    common = [key for key in known if len(networks) > 1 and len({one.get(key, "") for one in about}) == 1]
    own = [key for key in known if key not in common]
    rows = [[one.name, *(told.get(key) or "–" for key in own)] for one, told in zip(networks, about, strict=True)]
    if own:
        yield page.table("Networks", ["name", *own], rows, kind="words")
    if common:
        yield page.paragraph(f"Of all: {'; '.join(f'{key} {about[0][key]}' for key in common)}.", "note")


def _told(value: Any) -> str:
    """Empty of what says nothing."""
    if value is None or value in ((), [], {}):
        return ""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _numbers(explanation: Explanation) -> Iterator[str]:
    names = columns(explanation)
    compared = {one.name: one for one in comparisons(explanation)}
    rows = []
    for network in explanation.networks:
        found = {name: shown(explanation, name, network.numbers.get(name)) for name in names}
        # a method may be called as its first seed is, and the difference of that name is then the method's
        alone = network.name in compared and len(compared[network.name].members) == 1
        rows.append([network.name, *_cells(explanation, network.name if alone else None, names, found)])
    yield page.table("The numbers of each network", ["network", *names], rows)
    yield page.paragraph(_meanings(explanation), "note")
    first, *others = methods(explanation)
    several = [one for one in others if len(one.members) > 1]
    if several or len(first.members) > 1:
        rows = []
        for name, members in [first, *several]:  # the others are compared with the first, were it one training alone
            means = over_seeds(members)
            told = {column: shown(explanation, column, means.get(column)) for column in names}
            seeds = f"mean of {len(members)} seeds" if len(members) > 1 else "one training"
            rows.append([(name, seeds), *_cells(explanation, name, names, told)])
        yield page.table("The means of each method over its seeds", ["method", *names], rows)
        yield page.paragraph(
            "Of methods: ± standard deviation over seeds; the table before it has that over images.", "note"
        )
    if compared:
        yield page.paragraph(f"Second lines: the difference to {bases(explanation)}, with its {INTERVALS}.", "note")


def _cells(
    explanation: Explanation, name: str | None, columns: Sequence[str], found: Mapping[str, str]
) -> Iterator[str | tuple[str, str]]:
    """Numbers, with the difference of what has this name below them."""
    for column in columns:
        apart = None if name is None else difference(explanation, name, column)
        value = found.get(column, "–")
        yield (value, interval(explanation, column, apart)) if apart else value


def _meanings(explanation: Explanation) -> str:
    names = columns(explanation)
    means = "; ".join(f"{name}: {NUMBERS[name]}" for name in names)
    measure = " D in multiples of the first weights' norm." if "D_mean" in names else ""
    return f"{means}. At the last checkpoint, ± standard deviation over {images_of(explanation)}.{measure}"


def _hypotheses(explanation: Explanation) -> Iterator[str]:
    if not comparisons(explanation):
        yield page.paragraph("The published claims compare methods; one alone says nothing of them.")
        return
    yield page.paragraph(
        "Cheng, Rao, Chen and Zhang (CVPR 2020, arXiv:2003.03622) compare a distilled student with the same network "
        f"trained alone, which is here taken to be the first, {bases(explanation)}; they say each of the following of "
        "most networks."
    )
    asked = [one.name for one in judged(explanation)]
    left = [named(one.name, one.members) for one in comparisons(explanation) if one.name not in asked]
    if left:
        yield page.paragraph(f"Not asked, because they had no teacher: {', '.join(left)}.")
    if not asked:
        return
    for title, claims in HYPOTHESES.items():
        yield f"<h3>{title}</h3>"
        for claim in claims:
            yield page.paragraph(f"{claim.words} ({claim.number} is {'larger' if claim.larger else 'smaller'}).")
            yield page.items(sentences(explanation, claim))
    yield page.paragraph(_HONESTY, "note")


def _pictures(explanation: Explanation, drawn: Sequence[Picture] | None) -> Iterator[str]:
    if drawn is None:
        yield page.paragraph("Pictures need matplotlib; install it with: pip install matplotlib")
        return
    yield _grid([picture for picture in drawn if not picture.aside])
    aside = [picture for picture in drawn if picture.aside]
    if aside:
        yield page.details("Entropy maps of the other seeds", _grid(aside))


def _grid(pictures: Sequence[Picture]) -> str:
    return "\n".join(['<div class="pictures">', *map(page.figure, pictures), "</div>"])


def _margins(explanation: Explanation) -> Iterator[str]:
    """One number of one method a row, one margin a column."""
    names = [name for name in columns(explanation) if name != "D_var"]  # goes as D_std does
    margins, unknown = sorted(explanation.sweep), Number(None, None)
    swept = {b: at_margin(explanation, b) for b in margins}
    means = {b: {name: over_seeds(members) for name, members in methods(one)} for b, one in swept.items()}
    rows = [
        [f"{number}, {name}"]
        + [shown(explanation, number, means[b][name].get(number, unknown)._replace(spread=None)) for b in margins]
        for number in names
        for name, _ in methods(explanation)
    ]
    nats = [f"{b:g}" for b in margins]
    turned = [(who, "changes its sign", f"{told}.") for who, told in turning(explanation)]
    if turned:
        yield page.paragraph(
            f"Claims whose verdict depends on the margin (differences to {bases(explanation)}, without intervals):"
        )
        yield page.items(turned)
    elif judged(explanation):
        yield page.paragraph("No difference that a claim is about changes its sign with the margin.")
    yield page.details(
        f"The numbers with margins of {', '.join(nats)} nats",
        page.table("The numbers with other margins", ["margin", *nats], rows),
    )


def _images(explanation: Explanation) -> Iterator[str]:
    count = len(explanation.images)
    if explanation.foreground is None:
        why = "for which every network's layer says something at all"
    else:
        why = (
            "whose object every network discards less than the ground at its last checkpoint (and at each from epoch "
            f"{FROM_EPOCH} on), however well or badly it classifies them"
        )
    yield page.paragraph(
        f"This page is about {images_of(explanation)}, of the candidates that were shown: those {why}."
    )
    if any(network.fates.get(KEPT, 0) > count for network in explanation.networks):
        yield page.paragraph(f"Where more than {count} are kept, a network after it dropped some of them.")
    reasons = list(dict.fromkeys(reason for network in explanation.networks for reason in network.fates))
    rows = [[network.name, *(str(network.fates.get(why, 0)) for why in reasons)] for network in explanation.networks]
    head = ["network", *reasons]
    if any(network.never for network in explanation.networks):
        head.append("maps that never reached the threshold")
        for row, network in zip(rows, explanation.networks, strict=True):
            row.append(str(network.never))
    yield page.table("Fates of the candidates", head, rows)


def _settings(explanation: Explanation) -> str:
    told = {
        "margin": f"{explanation.margin:g} ({explanation.margin_rule})",
        "engine": explanation.engine,
        "stability under other noise": ""
        if explanation.noise is None
        else f"{about(explanation)}{explanation.noise:.3f}",
    }
    rows = [(key, value) for key, value in (*told.items(), *_flat(explanation.settings)) if value]
    return page.table("Settings", [], rows, kind="words")


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Settings inside settings by names with dots; what all of several networks have in common once."""
    inner = list(settings.values())
    common = {}
    if len(inner) > 1 and all(isinstance(each, Mapping) for each in inner):
        common = {key: value for key, value in inner[0].items() if all(each.get(key) == value for each in inner)}
        yield from _flat(common, before)
    for key, value in settings.items():
        if isinstance(value, Mapping):
            own = {name: each for name, each in value.items() if name not in common}
            yield from _flat(own, f"{before}{key}.")
        else:
            yield f"{before}{key}", _told(value)
