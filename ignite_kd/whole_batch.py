"""The batch of all processes, as a head sees it that compares images with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

from ignite_kd.distributed import gather, share_sizes
from ignite_kd.representation import Batch, Representation

__all__ = ["WholeBatch"]

Gather = Callable[[Tensor], Tensor]


class WholeBatch:
    """One step's batch out of the shares of all processes; a tensor is gathered when a head first reads it.

    Heads run alike on all processes, so all gather the same tensors in the same order. What was gathered is kept for
    the other heads of the step, with its graph, so this lives no longer than a step.

    Args:
        images: how many this process has.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self._sizes: list[int] | None = None
        self._gathered: dict[int, tuple[Tensor, Tensor]] = {}  # with the share, whose id is then nobody else's

    def gather(self, share: Tensor) -> Tensor:
        if id(share) not in self._gathered:
            if self._sizes is None:
                self._sizes = share_sizes(self.images)
            self._gathered[id(share)] = share, gather(share, self._sizes, self.images)
        return self._gathered[id(share)][1]

    def batch(self, share: Batch) -> Batch:
        return _WholeBatch(share, self.gather)

    def representation(self, share: Representation) -> Representation:
        return _WholeRepresentation(share, self.gather)


class _WholeBatch(Batch):
    def __new__(cls, share: Batch, gather: Gather) -> _WholeBatch:
        whole = super().__new__(cls, *share)
        whole._share, whole._gather = share, gather
        return whole

    _share: Batch
    _gather: Gather

    @property
    def images(self) -> Tensor:  # type: ignore[override]
        return self._gather(self._share.images)

    @property
    def labels(self) -> Tensor:  # type: ignore[override]
        return self._gather(self._share.labels)

    @property
    def indices(self) -> Tensor | None:  # type: ignore[override]
        return None if self._share.indices is None else self._gather(self._share.indices)

    def __iter__(self) -> Iterator[Tensor | None]:
        return iter((self.images, self.labels, self.indices))


class _WholeRepresentation(Representation):
    def __init__(self, share: Representation, gather: Gather) -> None:
        self._share, self._gather = share, gather

    @property
    def logits(self) -> Tensor:  # type: ignore[override]
        return self._gather(self._share.logits)

    @property
    def pooled(self) -> Tensor | None:  # type: ignore[override]
        return None if self._share.pooled is None else self._gather(self._share.pooled)

    @property
    def features(self) -> Mapping[str, Tensor]:  # type: ignore[override]
        return _WholeFeatures(self._share.features, self._gather)

    @property
    def before_relu(self) -> Mapping[str, Tensor]:  # type: ignore[override]
        return _WholeFeatures(self._share.before_relu, self._gather)


class _WholeFeatures(Mapping[str, Tensor]):
    def __init__(self, share: Mapping[str, Tensor], gather: Gather) -> None:
        self._share, self._gather = share, gather

    def __getitem__(self, stage: str) -> Tensor:
        return self._gather(self._share[stage])

    def __contains__(self, stage: object) -> bool:  # Mapping's own would gather
        return stage in self._share

    def __iter__(self) -> Iterator[str]:
        return iter(self._share)

    def __len__(self) -> int:
        return len(self._share)
