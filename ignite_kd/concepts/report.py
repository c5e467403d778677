"""What was found out, on one page that opens anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite_kd.concepts import page, pictures
from ignite_kd.concepts.drawing import Picture
from ignite_kd.concepts.explanation import Explained, Explanation
from ignite_kd.concepts.hypotheses import HYPOTHESES, sentences
from ignite_kd.concepts.numbers import (
    INTERVALS,
    NUMBERS,
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
        page.section("Networks", _networks(explanation.networks)),
        page.section("The numbers", *_numbers(explanation)),
        page.section("What was published, and what holds here", *_hypotheses(explanation)),
        page.section("Pictures", *_pictures(explanation, drawn)),
        page.section("Images that were kept", *_images(explanation)),
        page.section("Notes", *map(page.paragraph, explanation.notes)) if explanation.notes else "",
        page.section("Settings", _settings(explanation)),
    ]
    return page.page(title, parts)


def _asked(explanation: Explanation) -> str:
    layers = ", ".join(dict.fromkeys(network.layer for network in explanation.networks))
    unknown = (
        "" if explanation.foreground is not None else " Nobody knows where the objects are: all cells count alike."
    )
    return (
        f"How much of {images_of(explanation)} does layer {layers} discard, and which cells does it use? "
        f"A concept is a cell whose entropy lies more than {explanation.margin:g} nats "
        f"({explanation.margin_rule}) below that of the ground. {_engine(explanation.engine)}{unknown}"
    )


def _engine(name: str) -> str:
    if name == "sampled":
        return (
            "The maps are the published ones: noise grows, cell by cell, as long as the feature stays almost as it is."
        )
    return f"The maps are by the {name} engine, which computes from random probes what the published sampling expects."


def _networks(networks: Sequence[Explained]) -> str:
    known = list(dict.fromkeys(key for network in networks for key in network.about))
    rows = [
        [network.name, network.layer, ", ".join(map(str, network.epochs))]
        + [str(network.about.get(key, "–")) for key in known]
        for network in networks
    ]
    return page.table("Networks", ["name", "layer", "kept epochs", *known], rows, kind="words")


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
    yield page.paragraph(engine_note(explanation), "note")
    yield page.paragraph(_meanings(explanation), "note")
    several = [one for one in methods(explanation) if len(one.members) > 1]
    if several:
        rows = []
        for name, members in several:
            means = over_seeds(members)
            told = {column: shown(explanation, column, means.get(column)) for column in names}
            rows.append([named(name, members), *_cells(explanation, name, names, told)])
        yield page.table("The means of each method over its seeds", ["method", *names], rows)
        yield page.paragraph(
            "Of methods: ± standard deviation over seeds; the table before it has that over images.", "note"
        )
    if compared:
        bases = " or ".join(dict.fromkeys(named(one.base_name, one.base) for one in compared.values()))
        yield page.paragraph(f"Second lines: the difference to {bases}, with its {INTERVALS}.", "note")


def _cells(
    explanation: Explanation, name: str | None, columns: Sequence[str], found: Mapping[str, str]
) -> Iterator[str | tuple[str, str]]:
    """Numbers, with the difference of what has this name below them."""
    for column in columns:
        apart = None if name is None else difference(explanation, name, column)
        value = found.get(column, "–")
        yield (value, interval(column, apart)) if apart else value


def _meanings(explanation: Explanation) -> str:
    names = columns(explanation)
    means = "; ".join(f"{name}: {NUMBERS[name]}" for name in names)
    measure = " D in multiples of the first weights' norm." if "D_mean" in names else ""
    return f"{means}. At the last checkpoint, ± standard deviation over {images_of(explanation)}.{measure}"


def _hypotheses(explanation: Explanation) -> Iterator[str]:
    if not comparisons(explanation):
        yield page.paragraph("The published claims compare methods; one alone says nothing of them.")
        return
    first = explanation.networks[0]
    yield page.paragraph(
        "Cheng, Rao, Chen and Zhang (CVPR 2020, arXiv:2003.03622) compare a distilled student with the same network "
        f"trained alone, which is here taken to be the first, {first.name}; they say each of the following of most "
        "networks."
    )
    yield page.paragraph(engine_note(explanation), "note")
    for title, claims in HYPOTHESES.items():
        yield f"<h3>{title}</h3>"
        for claim in claims:
            yield page.paragraph(f"{claim.words} ({claim.number} is {'larger' if claim.larger else 'smaller'}).")
            yield page.items(sentences(explanation, claim))
    yield page.paragraph(_HONESTY, "note")


def _pictures(explanation: Explanation, drawn: Sequence[Picture] | None) -> Iterator[str]:
    if drawn is None:
        yield page.paragraph("Pictures need matplotlib; install it with: pip install 'ignite-kd[plots]'")
        return
    yield '<div class="pictures">'
    for picture in drawn:
        yield page.figure(picture, engine_note(explanation) if picture.of_maps else "")
    yield "</div>"


def _images(explanation: Explanation) -> Iterator[str]:
    yield page.paragraph(
        f"This page is about {images_of(explanation)}: those that every network kept, of the candidates that it was "
        "shown. So the numbers are of images that trained networks see well."
    )
    reasons = list(dict.fromkeys(reason for network in explanation.networks for reason in network.fates))
    rows = [
        [network.name, *(str(network.fates.get(reason, 0)) for reason in reasons), str(network.never)]
        for network in explanation.networks
    ]
    head = ["network", *reasons, "maps that never reached the threshold"]
    yield page.table("Fates of the candidates", head, rows)


def _settings(explanation: Explanation) -> str:
    told = {
        "margin": f"{explanation.margin:g} ({explanation.margin_rule})",
        "engine": explanation.engine,
        "deviation of the engine": explanation.deviation or "–",
        "stability under other noise": "–" if explanation.noise is None else f"{explanation.noise:.3f}",
    }
    rows = [*told.items(), *_flat(explanation.settings)]
    return page.table("Settings", [], rows, kind="words")


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Settings inside settings by names with dots."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
