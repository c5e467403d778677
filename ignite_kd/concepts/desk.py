"""Where one network is measured: its weights, images, engine, noise, and the file that keeps its maps."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd.concepts.candidates import Candidates
from ignite_kd.concepts.conclusion import Measured
from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.entropy import deviation
from ignite_kd.concepts.store import Store
from ignite_kd.concepts.subject import Subject
from ignite_kd.concepts.survey import Measure, Surveyed, describe, measure_with, survey
from ignite_kd.concepts.taps import weights_before
from ignite_kd.concepts.threshold import PUBLISHED
from ignite_kd.concepts.trajectory import EntropyMaps
from ignite_kd.engines import device_of
from ignite_kd.handlers.stopping import Stopping
from ignite_kd.models.three_layers import ThreeLayerNetwork

__all__ = ["BLOCK", "BUSY", "Asked", "Desk", "StoppedError"]

BLOCK = 10  # candidates between two savings
BUSY = "is explaining {}; wait for it."
_NOISES = 3  # at least, for what the noise alone changes


class StoppedError(Exception):
    """It was time to stop; what was computed is kept."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be looked at, and how.

    Args:
        layer: a stage or a module that all networks have; `pooled` is what the classifier sees.
        images: so many that all networks keep.
        candidates: among which these are looked for.
        part: `train` as published, or `test`.
        grid: cells along a side.
        engine: one of `ENGINES`.
        probes: of the engines that are not sampled.
        check: images of the first run on which such an engine is held against the sampled one.
        margin: a number, or one of the rules of `threshold.RULES`.
        entropy_weight: one for all networks, so that one margin means the same; None: each family's published one.
        masks: one of `candidates.MASKS`.
        mask_dir, mask_kind: see `candidates.candidates_of`.
        epochs: of the checkpoints; None: all that are there.
        seed: chooses candidates and noise.
    """

    layer: str = "pooled"
    images: int = 50
    candidates: int = 500
    part: str = "train"
    grid: int = 8
    engine: str = "sampled"
    probes: int = 64
    check: int = 4
    margin: float | str = 0.2
    entropy_weight: float | None = 7.0
    masks: str = "auto"
    mask_dir: str | None = None
    mask_kind: str = "cub"
    epochs: tuple[int, ...] | None = None
    seed: int = 0
    data_dir: str | None = None
    device: str = "auto"


class Desk:
    """One network, and what its maps need whichever seed and engine they are of."""

    def __init__(
        self,
        name: str,
        subject: Subject,
        network: nn.Module,
        candidates: Candidates,
        asked: Asked,
        constants: Constants,
        stopping: Stopping | None = None,
    ) -> None:
        self.name, self.subject, self.network = name, subject, network
        self.candidates, self.asked, self.constants, self.stopping = candidates, asked, constants, stopping
        self.device = device_of(network)

    def store(
        self, engine: str | None = None, seed: int | None = None, last: bool = False, path: Path | None = None
    ) -> Store:
        """Where its maps are, of this engine and noise; `last`: of the last checkpoint."""
        asked, subject = self.asked, self.subject
        made = describe(
            subject.run.model, asked.layer, self.constants, engine or asked.engine,
            asked.seed if seed is None else seed, asked.probes, digest=self.candidates.digest,
            size=self.candidates.image_size, normalisation=subject.run.normalisation, views=subject.run.views,
            noise_of=self.device.type,
        )  # fmt: skip
        weights = {epoch: subject.digest(epoch) for epoch in (subject.epochs[-1:] if last else subject.epochs)}
        if path is not None:
            return Store(path, made, weights, self.candidates.names, self.constants.grid, self.constants.steps)
        key: list[Any] = [made] if subject.history else [made, weights]  # other weights may come to lie in that place
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
        path = subject.cache / f"{asked.layer}-{digest}.pt"
        return Store(path, made, weights, self.candidates.names, self.constants.grid, self.constants.steps)

    def surveyed(self, store: Store, seed: int | None = None) -> Surveyed:
        """What `survey_together` asks for."""
        return Surveyed(self.name, self.subject, self.network, store, self.measure(seed=seed), self.images)

    def images(self, names: Sequence[str]) -> Tensor:
        """As this network wants them."""
        return self.candidates.normalised(names, self.subject.run.normalisation)

    def measure(self, engine: str | None = None, seed: int | None = None) -> Measure:
        """The engine, which asks at each of the network's passes whether it is time to stop."""
        asked = self.asked
        wanted = measure_with(
            asked.layer, engine=engine or asked.engine, constants=self.constants, probes=asked.probes,
            seed=asked.seed if seed is None else seed,
        )  # fmt: skip

        def measure(network: nn.Module, images: Tensor, seeds: Sequence[int]) -> EntropyMaps:
            with self._stoppable(network):
                return wanted(network, images, seeds)

        return measure

    @contextlib.contextmanager
    def _stoppable(self, network: nn.Module) -> Iterator[None]:
        """The maps of a large network take minutes: its first layer asks."""

        def ask(*_: Any) -> None:
            if self.stopping is not None and self.stopping.asked():
                raise StoppedError

        ask()
        first = next(module for module in network.modules() if next(module.parameters(recurse=False), None) is not None)
        handle = first.register_forward_pre_hook(ask)
        try:
            yield
        finally:
            handle.remove()

    def last(self, names: Sequence[str], engine: str | None = None, seed: int | None = None) -> EntropyMaps:
        """The maps of these images at the last checkpoint, by another engine or with other noise."""
        end, store = self.subject.at(self.subject.epochs[-1:]), self.store(engine, seed, last=True)
        survey(end, self.network, store, self.measure(engine, seed), self.images, names, block=BLOCK)
        return store.get(end.epochs[-1], names)

    def noisy(self, names: Sequence[str]) -> Tensor:
        """Images × noises × S × S of the last checkpoint; the usual noise comes last.

        As many as there are checkpoints, so that they can be held against them, where a map costs little.
        """
        count = _NOISES if self.asked.engine == "sampled" else max(_NOISES, len(self.subject.epochs))
        seeds = [self.asked.seed + i for i in reversed(range(count))]
        return torch.stack([self.last(names, seed=seed).entropies for seed in seeds], dim=1)

    def deviation(
        self,
        names: Sequence[str],
        background: Tensor | None = None,
        margin: float = PUBLISHED,
        say: Callable[[str], None] = lambda line: None,
    ) -> str | None:
        """How far the maps of this engine are from sampled ones at the last checkpoint, and concepts, in words.

        None of the sampled engine itself, and where nobody asked.
        """
        names = names[: self.asked.check]
        if self.asked.engine == "sampled" or not names:
            return None
        say(f"the last checkpoint by the sampled engine: {len(names)} images")  # which takes long
        mine, sampled = self.last(names), self.last(names, engine="sampled")
        apart = deviation(mine, sampled, None if background is None else background[: len(names)], margin)
        if not apart.images:
            return f"not known: in none of {len(names)} images both reached the threshold"
        return f"{apart}, over {apart.images} image{'s' * (apart.images > 1)} of {self.name}'s last checkpoint"

    def moving(self) -> tuple[str, bool] | None:
        """Whose way is the distance: the layer's own weight, as in the released code; of a stage all weights up to it.

        The stages of the study's networks are layers, whose own weight is under another name. None where no run wrote
        it down.
        """
        if not self.subject.weights:
            return None
        places = self.network.layers if isinstance(self.network, ThreeLayerNetwork) else {}
        own = f"{places.get(self.asked.layer, self.asked.layer)}.weight"
        if own in self.subject.weights:
            return own, False
        image = self.images(self.candidates.names[:1]).to(self.device)
        return weights_before(self.network, self.asked.layer, image)[-1], True

    def measured(self, store: Store, names: Sequence[str], fates: dict[str, int]) -> Measured:
        """For `conclude`."""
        subject = self.subject
        maps = store.entropies(names, subject.epochs)
        about, moving = subject.about(), self.moving()
        if moving is not None:
            about["distance of"] = f"all weights up to {moving[0]}" if moving[1] else moving[0]
        return Measured(
            name=self.name,
            about=about,
            layer=self.asked.layer,
            epochs=list(subject.epochs),
            maps=maps,
            fates=fates,
            never=store.never(names, subject.epochs),
            **(subject.moved(*moving) if moving else {}),
        )
