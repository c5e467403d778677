"""Entropy maps of any layer of any network, by either engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.discarding import normal_noise, sampled_maps
from ignite_kd.concepts.metrics import background_level, concepts
from ignite_kd.concepts.probes import closed_form_maps, gradient_energy, linear_maps
from ignite_kd.concepts.taps import frozen, tapped
from ignite_kd.concepts.threshold import PUBLISHED
from ignite_kd.concepts.trajectory import EntropyMaps, Status
from ignite_kd.engines import device_of
from ignite_kd.errors import UserError, unknown

__all__ = ["ENGINES", "Deviation", "deviation", "entropy_maps"]

ENGINES = ("sampled", "linear", "closed-form")


def entropy_maps(
    network: nn.Module,
    layer: str,
    images: Tensor,
    *,
    engine: str = "sampled",
    constants: Constants | None = None,
    seeds: Sequence[int] | None = None,
    seed: int = 0,
    probes: int = 64,
    at_once: int | None = None,
    early_stop: bool = True,
    rectified: bool = True,
) -> EntropyMaps:
    """How much of each cell of each image the layer discards.

    Args:
        layer: a stage or a module, see `taps.layers`.
        images: N × C × H × W, normalised as the network wants them, deviation about 1.
        engine: `sampled`, the published trajectory; `linear`, the same from random output probes at a hundredth of
            the cost; `closed-form`, that with steps of no length.
        constants: by default the published ones for a network of this name.
        seeds: a number for each image, of its noise: give an image the same one for all networks and checkpoints.
        seed: of the noise as a whole; two of them tell what the noise alone changes.
        probes: of the engines that are not sampled.
        at_once: images a pass; memory and speed alone depend on it.
        rectified: the layer's output after a ReLU, as published.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if len(images) == 0:
        raise UserError("there are no images to explain; choose some.")
    constants = constants or Constants.of(str(getattr(network, "name", type(network).__name__)))
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    if dtype not in (torch.float32, torch.float64):
        raise UserError(f"entropy maps need a network in float32 or float64, not {dtype}; convert it with .float().")
    if seeds is not None and len(seeds) != len(images):
        raise UserError(f"{len(images)} images need as many seeds, but {len(seeds)} were given.")
    images = images.to(device_of(network), dtype)
    feature = tapped(network, layer, rectified)
    with frozen(network), torch.autocast(images.device.type, enabled=False):
        if engine == "sampled":
            noise = normal_noise(seed)
            at_once = at_once or max(1, min(4, 4 * 64**2 // images[0, 0].numel()))  # of photographs one fills a memory
            return sampled_maps(feature, images, constants, seeds, noise, early_stop, at_once)
        energy = gradient_energy(feature, images, constants.grid, seeds, probes, seed, at_once or 32)
    if engine == "closed-form":
        return closed_form_maps(energy, constants)
    return linear_maps(energy, constants, early_stop)


class Deviation(NamedTuple):
    """Of one engine from another, or of one noise from another, in nats a cell."""

    mean: float  # of absolute differences
    worst: float
    bias: float
    spread: float  # of cells: what the mean has to be compared with
    images: int
    gained: float  # concepts of an image that only the first has
    lost: float  # and that it lacks

    def __str__(self) -> str:
        return (
            f"{self.mean:.4f} nats a cell (at most {self.worst:.3f}; cells differ by {self.spread:.3f}), "
            f"{self.gained:.2f} concepts an image too many and {self.lost:.2f} too few"
        )


def deviation(
    maps: EntropyMaps, reference: EntropyMaps, background: Tensor | None = None, margin: float = PUBLISHED
) -> Deviation:
    """How far apart the maps of the same images are, over the images that came out well in both.

    Args:
        background: images × S × S, from whose level concepts are counted; of all cells where nobody knows it.
    """
    both = (maps.status == Status.OK) & (reference.status == Status.OK)
    if not both.any():
        nan = torch.nan
        return Deviation(nan, nan, nan, nan, 0, nan, nan)
    one, other = maps.entropies[both], reference.entropies[both]
    ground = torch.ones_like(one, dtype=torch.bool) if background is None else background[both]
    here, there = (concepts(m[:, None], background_level(m[:, None], ground), margin) for m in (one, other))
    apart = one - other
    within = other.flatten(1).std(1, correction=0).mean()
    count = int(both.sum())
    return Deviation(
        float(apart.abs().mean()), float(apart.abs().max()), float(apart.mean()), float(within), count,
        int((here & ~there).sum()) / count, int((there & ~here).sum()) / count,
    )  # fmt: skip
