"""What flows between loaders, models, engines and heads: a batch, and what a network says about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

__all__ = ["Batch", "Features", "Representation", "represent"]


class Batch(NamedTuple):
    """Images, labels and the images' positions in the training set (memory banks need them)."""

    images: Tensor
    labels: Tensor
    indices: Tensor | None = None

    @classmethod
    def of(cls, value: Any) -> Batch:
        """A batch from what a loader yields: a `Batch`, or any (images, labels[, indices])."""
        if isinstance(value, cls):
            return value
        if isinstance(value, (tuple, list)) and len(value) in (2, 3):
            return cls(*value)
        raise TypeError(
            f"a loader should yield Batch or (images, labels[, indices]), but one yielded {type(value).__name__}."
        )

    def to(self, device: torch.device) -> Batch:
        """This batch on `device`; the same tensors where they already lie there."""
        indices = None if self.indices is None else self.indices.to(device, non_blocking=True)
        return Batch(self.images.to(device, non_blocking=True), self.labels.to(device, non_blocking=True), indices)


class Features(Mapping[str, Tensor]):
    """Feature tensors by stage name; asking for a stage that is not there says which ones are."""

    def __init__(self, stages: Mapping[str, Tensor] | None = None, owner: str = "the model") -> None:
        self._stages = dict(stages or {})
        self._owner = owner

    def __getitem__(self, stage: str) -> Tensor:
        try:
            return self._stages[stage]
        except KeyError:
            raise KeyError(
                f"{self._owner} has no feature '{stage}'; it gives {', '.join(self._stages) or 'none'}."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._stages)

    def __len__(self) -> int:
        return len(self._stages)


@dataclass
class Representation:
    """What a network makes of a batch.

    Args:
        logits: N × classes.
        features: stage name → what the stage gives out (`stem`, `layer1`, …).
        before_relu: stage name → the same place before its rectification, where a model has such a place.
        pooled: N × channels, what the classifier sees; None where a model has no such vector.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=Features)
    before_relu: Mapping[str, Tensor] = field(default_factory=Features)
    pooled: Tensor | None = None

    def stage(self, name: str) -> Tensor:
        """The feature called `name`; `pooled` and `logits` count as names too."""
        if name == "logits":
            return self.logits
        if name == "pooled" and self.pooled is not None:
            return self.pooled
        return self.features[name]

    def before(self, name: str) -> Tensor:
        """The feature called `name` before its rectification; `pooled` has none and is itself."""
        return self.stage(name) if name in ("pooled", "logits") else self.before_relu[name]


def represent(model: nn.Module, images: Tensor) -> Representation:
    """`model.represent(images)`, or just the logits of a model that has no such method."""
    if hasattr(model, "represent"):
        return cast(Any, model).represent(images)
    return Representation(logits=model(images))
