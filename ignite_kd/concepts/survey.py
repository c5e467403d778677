"""Entropy maps of a whole training: the last checkpoint first, and only of images that are still wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ignite_kd.allocation import keep_freed_memory
from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.entropy import entropy_maps
from ignite_kd.concepts.selection import FROM_EPOCH, KEPT, Verdict, judge
from ignite_kd.concepts.store import Store
from ignite_kd.concepts.trajectory import EntropyMaps
from ignite_kd.data.randomness import number
from ignite_kd.engines import device_of

__all__ = ["Checkpoints", "Measure", "Surveyed", "describe", "image_seed", "measure_with", "survey", "survey_together"]

Measure = Callable[[nn.Module, Tensor, Sequence[int]], EntropyMaps]  # (network, images, their seeds)


class Checkpoints(Protocol):
    """What a survey asks of a training: a `History`, for one."""

    epochs: list[int]

    def load(self, network: nn.Module, epoch: int) -> None: ...


class Surveyed(NamedTuple):
    """One of several networks: where its weights, its images and its maps come from, and where they go."""

    name: str
    checkpoints: Checkpoints
    network: nn.Module
    store: Store
    measure: Measure
    images: Callable[[Sequence[str]], Tensor]


def describe(
    network: str, layer: str, constants: Constants, engine: str, seed: int, probes: int, **data: Any
) -> dict[str, Any]:
    """What decides every map, for `Store(made=…)`; `data` says which images, e.g. its digest and normalisation."""
    own = asdict(constants) | ({} if engine == "sampled" else {"samples": None})
    settings = {"engine": engine, "seed": seed} | ({} if engine == "sampled" else {"probes": probes})
    return {"network": network, "layer": layer, "constants": own, **settings, "data": dict(data)}


def image_seed(name: str) -> int:
    """The seed of an image's noise, from its name alone: the same for every network, checkpoint and selection."""
    return number(0, *name.encode())


def measure_with(layer: str, **settings: Any) -> Measure:
    """`entropy_maps` with everything said but the network and the images."""
    return lambda network, images, seeds: entropy_maps(network, layer, images, seeds=seeds, **settings)


def survey(
    history: Checkpoints,
    network: nn.Module,
    store: Store,
    measure: Measure,
    images: Callable[[Sequence[str]], Tensor],
    names: Sequence[str],
    masks: tuple[Tensor, Tensor] | None = None,
    wanted: int | None = None,
    block: int = 25,
    from_epoch: int = FROM_EPOCH,
    fewest_cells: int = 1,
    lowest: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Verdict]:
    """Compute what the store lacks, block by block; returns the fate of every candidate that was looked at, in order.

    A block of candidates goes from the last checkpoint to the first, and who is dropped at one is not asked at the
    ones before, as in the released code. After a kill the same call goes on where it was.

    Args:
        images: names → N × C × H × W, normalised.
        masks: (foreground, background) of all names, candidates × S × S; None keeps every image that moves the feature.
        wanted: end as soon as so many were kept, with the first of them; None: look at all.
        block: candidates a step; what a kill costs, and how often a checkpoint is read.
    """
    if device_of(network).type == "cpu":
        keep_freed_memory()
    fates: dict[str, Verdict] = {}
    place = {name: i for i, name in enumerate(names)}
    for start in range(0, len(names), block):
        alive = list(names[start : start + block])
        for epoch in reversed(history.epochs):
            lacking = store.missing(epoch, alive)
            if lacking:
                history.load(network, epoch)
                store.put(epoch, lacking, measure(network, images(lacking), [image_seed(name) for name in lacking]))
            found = store.get(epoch, alive)
            rows = [place[name] for name in alive]
            foreground, background = (mask[rows] for mask in masks) if masks else _everywhere(found)
            verdicts = judge(found, foreground, background, epoch, from_epoch, lowest, fewest_cells)
            fates.update(zip(alive, verdicts, strict=True))
            alive = [name for name in alive if fates[name] == KEPT]
            say(f"epoch {epoch}: {len(alive)} of candidates {start + 1} to {min(start + block, len(names))} left")
            if not alive:
                break
        if wanted is not None and list(fates.values()).count(KEPT) >= wanted:
            return _first(fates, wanted)
    return fates


def survey_together(
    networks: Sequence[Surveyed],
    names: Sequence[str],
    masks: tuple[Tensor, Tensor] | None,
    wanted: int,
    block: int = 25,
    from_epoch: int | None = FROM_EPOCH,
    lowest: float | None = None,
    say: Callable[[str], None] = lambda line: None,
    fewest_cells: int = 1,
) -> tuple[list[str], dict[str, dict[str, Verdict]]]:
    """(the first `wanted` candidates that all networks keep, the fates of those looked at, by network).

    A candidate that a network dropped is not asked of those after it. A training that ended before `from_epoch` is
    asked at its last checkpoint, or nothing of it would be; with None no checkpoint is asked.
    """
    fates: dict[str, dict[str, Verdict]] = {each.name: {} for each in networks}
    kept: list[str] = []
    for start in range(0, len(names), block):
        rows = list(range(start, min(start + block, len(names))))
        for each in networks:
            last = each.checkpoints.epochs[-1]
            alive = [names[row] for row in rows]
            found = survey(
                each.checkpoints, each.network, each.store, each.measure, each.images, alive,
                (masks[0][rows], masks[1][rows]) if masks else None, block=block,
                from_epoch=last + 1 if from_epoch is None else min(from_epoch, last), lowest=lowest,
                fewest_cells=fewest_cells, say=lambda line, name=each.name: say(f"{name}, {line}"),  # type: ignore[misc]
            )  # fmt: skip
            fates[each.name] |= found
            rows = [row for row in rows if found[names[row]] == KEPT]
        kept += [names[row] for row in rows]
        if len(kept) >= wanted:
            break
    kept = kept[:wanted]
    asked = names[: names.index(kept[-1]) + 1] if len(kept) == wanted else names
    return kept, {name: {c: found[c] for c in asked if c in found} for name, found in fates.items()}


def _everywhere(found: EntropyMaps) -> tuple[Tensor, Tensor]:
    """Nobody can discard all cells more than all cells."""
    cells = torch.ones(found.entropies.shape, dtype=torch.bool)
    return cells, cells


def _first(fates: dict[str, Verdict], wanted: int) -> dict[str, Verdict]:
    """The candidates until the last one that was needed."""
    looked_at: dict[str, Verdict] = {}
    for name, fate in fates.items():
        looked_at[name] = fate
        if list(looked_at.values()).count(KEPT) == wanted:
            break
    return looked_at
