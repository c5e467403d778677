"""From entropy maps to what is said about networks: pure, so that it can be checked on maps written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ignite_kd.concepts import metrics
from ignite_kd.concepts.explanation import Explained, Explanation, Number
from ignite_kd.concepts.numbers import NUMBERS
from ignite_kd.concepts.threshold import SWEEP

__all__ = ["Measured", "conclude", "explained", "measure_images", "noise_stability"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a network; as in `Explained`.

    Args:
        epoch_distances: counted from epoch to epoch.
        whole_distances: of all weights up to the layer, where `distances` are those of its own.
    """

    name: str
    about: dict[str, Any]
    layer: str
    epochs: list[int]
    maps: Tensor
    distances: Tensor | None = None
    epoch_distances: Tensor | None = None
    whole_distances: Tensor | None = None
    fates: dict[str, int]
    never: int = 0


Masks = tuple[Tensor, Tensor] | None  # foreground and background, images × S × S each


class _Counted(NamedTuple):
    found: Tensor
    cells: tuple[Tensor, Tensor, Tensor]  # of the object, the ground, the image; the whole image where nobody knows
    level: Tensor
    counts: list[Tensor]


def _counted(maps: Tensor, masks: Masks, margin: float) -> _Counted:
    everywhere = torch.ones_like(maps[:, 0], dtype=torch.bool)
    foreground, background = masks or (everywhere, everywhere)
    level = metrics.background_level(maps, background)
    found = metrics.concepts(maps, level, margin)
    cells = (foreground, background, everywhere)
    return _Counted(found, cells, level, [metrics.counts(found, where) for where in cells])


def measure_images(one: Measured, masks: Masks, margin: float) -> dict[str, Tensor]:
    """Number → one an image, at the last checkpoint; what one checkpoint or no distance cannot tell is left out."""
    found, cells, _, (on, off, total) = _counted(one.maps, masks, margin)
    numbers = {"N": total[:, -1]}
    if masks:
        ratios = metrics.ratios(on.double(), off.double())[:, -1]
        some = torch.where((on + off)[:, -1] > 0, ratios, torch.nan)
        numbers |= {"N_fg": on[:, -1], "N_bg": off[:, -1], "ratio": ratios, "ratio_some": some}
    if len(one.epochs) > 1:
        ways = {"D_mean": one.distances, "D_epochs": one.epoch_distances, "D_whole": one.whole_distances}
        for name, path in ways.items():
            if path is not None:
                numbers[name] = path[metrics.best_checkpoints(on)]
        if one.distances is not None and masks:
            numbers["D_bg"] = one.distances[metrics.best_checkpoints(off)]
        stable = {"rho": cells[0], "rho_bg": cells[1]} if masks else {}
        numbers |= {name: metrics.stability(found, where) for name, where in (stable | {"rho_all": cells[2]}).items()}
        if masks and one.epochs[0] == 0:
            numbers["rho_trained"] = metrics.stability(found, cells[0], without_first=True)
    return {name: numbers[name].double() for name in NUMBERS if name in numbers}


def explained(one: Measured, masks: Masks, margin: float) -> Explained:
    """The numbers of one network."""
    _, _, level, (on, off, total) = _counted(one.maps, masks, margin)
    path = one.distances if len(one.epochs) > 1 else None
    images = measure_images(one, masks, margin)
    nan = torch.tensor(torch.nan)
    names = {"foreground": "rho", "background": "rho_bg", "total": "rho_all"}
    return Explained(
        name=one.name,
        about=one.about,
        layer=one.layer,
        epochs=one.epochs,
        maps=one.maps,
        distances=one.distances,
        level=level,
        foreground=on if masks else None,
        background=off if masks else None,
        total=total,
        speed=None if path is None else metrics.learning_speed(on, path),
        background_speed=metrics.learning_speed(off, path) if masks and path is not None else None,
        stability={where: float(images.get(name, nan).mean()) for where, name in names.items()},
        fates=one.fates,
        never=one.never,
        numbers=_summed_up(images),
    )


def conclude(
    networks: Sequence[Measured],
    masks: Masks,
    margin: float,
    *,
    pictures: Tensor,
    names: Sequence[str],
    margin_rule: str = "published",
    engine: str = "sampled",
    deviation: str | None = None,
    noise: float | None = None,
    noises: int = 0,
    groups: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    resamples: int = 1000,
) -> Explanation:
    """All networks by one margin, and how sure their differences to the first one are.

    Args:
        masks: foreground and background of the images, on the grid; None where nobody knows them.
        pictures: the images as people see them.
        noise, noises: see `Explanation`.
        groups: method → its networks, one a seed.
        resamples: of the images, for the intervals.
    """
    methods = {name: list(members) for name, members in (groups or {}).items() if len(members) > 1}
    found = [explained(one, masks, margin) for one in networks]
    return Explanation(
        networks=found,
        images=pictures,
        names=list(names),
        foreground=masks[0] if masks else None,
        background=masks[1] if masks else None,
        margin=margin,
        margin_rule=margin_rule,
        engine=engine,
        deviation=deviation,
        noise=noise,
        noises=noises,
        differences=_differences(networks, masks, margin, groups or {}, resamples),
        settings=dict(settings or {}),
        groups=methods,
        sweep={b: {one.name: explained(one, masks, b).numbers for one in networks} for b in SWEEP},
        notes=(*notes, *_reservations(found)),
    )


def _reservations(networks: Sequence[Explained]) -> Iterator[str]:
    """What the numbers do not say of themselves."""
    for one in networks:
        if one.never:
            yield (
                f"{one.name}: sigma never reached the threshold in {one.never} of {one.maps[:, :, 0, 0].numel()} maps; "
                "the nearest ones were taken"
            )
    without = {}
    for one in networks:
        without[one.name] = int((one.counted.amax(1) == 0).sum()) if len(one.epochs) > 1 else 0
    told = ", ".join(f"{number} of {name}" for name, number in without.items() if number)
    if told:
        where = "" if networks[0].foreground is None else " on the object"
        yield (
            f"images that never had a concept{where}: {told}; as published their D is that of the first checkpoint, "
            "and their ρ 0"
        )


def noise_stability(maps: Tensor, masks: Masks, margin: float) -> float | None:
    """rho of one checkpoint under several noises, as if these were epochs; maps images × noises × S × S.

    Of the images whose feature moves under every noise; None where there is none.
    """
    moved = ~maps.flatten(1).isnan().any(1)
    if not moved.any():
        return None
    found, cells, *_ = _counted(maps[moved], (masks[0][moved], masks[1][moved]) if masks else None, margin)
    return float(metrics.stability(found, cells[0]).double().mean())


def _summed_up(images: Mapping[str, Tensor]) -> dict[str, Number]:
    """Means and deviations over images, of which one alone has none; those of D are numbers of the paper."""
    found = {}
    for name, every in images.items():
        values = every[~every.isnan()]  # an image may not have the number
        if not len(values):
            continue
        found[name] = Number(float(values.mean()), float(values.std(correction=0)) if len(values) > 1 else None)
    spread = found.get("D_mean", Number(None, None)).spread
    if spread is not None:
        found |= {"D_std": Number(spread, None), "D_var": Number(spread**2, None)}
    return {name: found[name] for name in NUMBERS if name in found}


def _differences(
    networks: Sequence[Measured], masks: Masks, margin: float, groups: Mapping[str, Sequence[str]], resamples: int
) -> dict[str, tuple[float, float, float]]:
    """Paired: in each resample all networks see the same images. The background's level is that of the resample.

    Methods are resampled over their seeds, too. None of one image, of which every resample is the same: an interval
    without width would prove anything.
    """
    if len(networks) < 2 or len(networks[0].maps) < 2:
        return {}
    members = {one.name: [one.name] for one in networks[1:]}
    first = networks[0].name
    mine = next((list(group) for group in groups.values() if first in group), [first])
    several = {name: list(group) for name, group in groups.items() if len(group) > 1 and first not in group}

    def of(chosen: Tensor, pick: Callable[[list[str]], list[str]]) -> dict[str, float]:
        part = (masks[0][chosen], masks[1][chosen]) if masks else None
        values = {}
        for one in networks:
            numbers = _summed_up(measure_images(replace(one, maps=one.maps[chosen]), part, margin))
            values[one.name] = {name: number.value for name, number in numbers.items() if number.value is not None}
        found = {}
        for own, others in ((members, [first]), (several, mine)):
            base = _mean([values[name] for name in pick(others)])
            for name, group in own.items():
                for number, value in _mean([values[member] for member in pick(group)]).items():
                    if number in base:
                        found[f"{name}: {number}"] = value - base[number]
        return found

    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> Tensor:
        return torch.randint(count, (count,), generator=generator)

    count = len(networks[0].maps)
    drawn = [of(draw(count), lambda group: [group[i] for i in draw(len(group)).tolist()]) for _ in range(resamples)]
    differences = {}
    for name, value in of(torch.arange(count), list).items():
        if not all(name in resample for resample in drawn):  # of too few images
            continue
        values = torch.tensor([resample[name] for resample in drawn], dtype=torch.float64)
        low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        differences[name] = value, low, high
    return differences


def _mean(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Over seeds, of the numbers that all of them have."""
    return {
        number: sum(each[number] for each in values) / len(values)
        for number in values[0]
        if all(number in each for each in values)
    }
