"""An in-memory loader: the images lie on the device, and a batch is a gather there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ignite_kd.data.augmentation import Augmentation, normalise
from ignite_kd.data.dataset import Images
from ignite_kd.data.order import Order, Seekable
from ignite_kd.representation import Batch

__all__ = ["Stream"]


class Stream(Seekable):
    """Batches of images held as uint8 on `device`; an epoch is a function of (seed, epoch) and resumes at any batch.

    Args:
        images: the data.
        batch_size: the global one, divided among the processes (`Order`).
        mean, std: normalisation, in units where a pixel is in [0, 1].
        seed: of the order and of the augmentation.
        indices: the subset to go through; `Batch.indices` are positions in this subset.
        augmentation: None leaves the images as they are.
        shuffle: a new order each epoch.
        drop_last: leave out the last batch where it is not full.
        device, dtype, memory_format: of the images that come out.
        rank, world_size: which of how many processes this is.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        seed: int = 0,
        indices: Tensor | None = None,
        augmentation: Augmentation | None,
        shuffle: bool,
        drop_last: bool = False,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        rank: int = 0,
        world_size: int = 1,
        memory_format: torch.memory_format | None = None,
    ) -> None:
        if indices is not None:
            images = images.subset(indices)
        super().__init__(Order(len(images), batch_size, shuffle, seed, drop_last, rank, world_size))
        self.seed = seed
        self.augmentation = augmentation
        self._images = images.images.to(device)
        self._labels = images.labels.to(device)
        self._mean, self._std, self._dtype, self._memory_format = tuple(mean), tuple(std), dtype, memory_format

    def _batches(self, epoch: int, offset: int) -> Iterator[Batch]:
        for positions in self.order.one_pass(epoch, offset):
            positions = positions.to(self._images.device, non_blocking=True)
            images = self._images[positions]
            if self.augmentation is not None:
                images = self.augmentation.apply(images, *self.augmentation.offsets(self.seed, epoch, positions))
            images = normalise(images, self._mean, self._std, self._dtype)
            if self._memory_format is not None:
                images = images.contiguous(memory_format=self._memory_format)
            yield Batch(images, self._labels[positions], positions)
