"""What was found out about several networks on one set of images, in plain values: what reports are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from ignite_kd.concepts.metrics import LearningSpeed

__all__ = ["Explained", "Explanation", "Number"]


class Number(NamedTuple):
    """A mean over images and their standard deviation; of D that is the published D_mean and D_std. None: no number."""

    value: float | None
    spread: float | None


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One network's training.

    Args:
        name: short, to tell it from the others: `kd`, `alone`.
        about: what else a reader wants to know: network, loss, recipe, seed, test accuracy, folder.
        layer: that was measured.
        epochs: of the checkpoints, T ascending.
        maps: images × T × S × S entropies, of the images that all networks kept.
        distances: T, how far the layer's weights had moved (in multiples of their first norm); None where the run has
            no weight path.
        level: T, the mean entropy of the background.
        foreground, background: images × T, concepts there; None without masks, when `total` alone is known.
        total: images × T.
        speed: of the foreground's concepts (of all, without masks); None without distances.
        background_speed: the same of the background.
        stability: by `foreground`, `background` and `total`: the mean over images; NaN of one checkpoint alone.
        fates: why candidates were dropped, and how many were kept; reason → number.
        never: maps whose sigma never reached the threshold.
        numbers: what the tables show, at the last checkpoint, by their names in `numbers.NUMBERS`.
    """

    name: str
    about: dict[str, Any]
    layer: str
    epochs: list[int]
    maps: Tensor
    distances: Tensor | None
    level: Tensor
    foreground: Tensor | None
    background: Tensor | None
    total: Tensor
    speed: LearningSpeed | None
    background_speed: LearningSpeed | None
    stability: dict[str, float]
    fates: dict[str, int]
    never: int
    numbers: dict[str, Number] = field(default_factory=dict)

    @property
    def counted(self) -> Tensor:
        """Concepts on the object; all of them where nobody knows where that is."""
        return self.total if self.foreground is None else self.foreground


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Several of them.

    Args:
        images: N × 3 × H × W, uint8, as a person sees them.
        names: of the images.
        foreground: N × S × S masks on the grid; None where nobody knows them.
        margin: b, how far below the background a concept lies, in nats.
        margin_rule: how it was chosen.
        engine: `sampled` or `linear`.
        deviation: of the linear maps from sampled ones of some images, in words; None of the sampled engine.
        noise: stability of the first network's last checkpoint under other noise, as if noises were epochs; None where
            it was not measured.
        noises: how many these were; the more, the smaller is that number, as with epochs.
        differences: `name: number` → (difference to the first network, lower and upper end of a 95 % interval over
            images); of a method with several seeds `method: number`, from the mean of the first method's, with an
            interval over images and seeds.
        settings: constants, seeds, data, versions, command.
        groups: method → its networks, where there are several seeds of one.
        sweep: other margins → network → its numbers with it.
        notes: what else a reader has to know, a line each.
    """

    networks: list[Explained]
    images: Tensor
    names: list[str]
    foreground: Tensor | None
    background: Tensor | None
    margin: float
    margin_rule: str
    engine: str
    deviation: str | None
    noise: float | None
    differences: dict[str, tuple[float, float, float]]
    settings: dict[str, Any]
    groups: dict[str, list[str]] = field(default_factory=dict)
    sweep: dict[float, dict[str, dict[str, Number]]] = field(default_factory=dict)
    noises: int = 0
    notes: tuple[str, ...] = ()
