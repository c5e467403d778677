"""In which order, in which batches and on which process a data set is gone through: a function of (seed, epoch)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ignite_kd.data.randomness import shuffled
from ignite_kd.errors import UserError
from ignite_kd.representation import Batch

__all__ = ["Order", "Seekable"]


@dataclass(frozen=True)
class Order:
    """The batches of every epoch over n samples, as positions.

    Args:
        n: number of samples.
        batch_size: the global one; with several processes each takes its contiguous share of every batch, so that the
            union over the ranks is the batch of a single process. Shares differ by at most one sample.
        shuffle: a new order each epoch; without it, 0 … n - 1.
        drop_last: leave out the last batch where it is not full.
    """

    n: int
    batch_size: int
    shuffle: bool
    seed: int = 0
    drop_last: bool = False
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError("there are no images to go through; give at least one.")
        if self.batch_size < 1:
            raise UserError(f"a batch of {self.batch_size} images was asked for; give at least 1.")
        if self.batch_size < self.world_size:
            raise UserError(
                f"a batch of {self.batch_size} cannot be shared by {self.world_size} processes; "
                f"the batch size counts all of them, so give at least {self.world_size}."
            )
        if not 0 <= self.rank < self.world_size:
            raise UserError(f"rank {self.rank} is not one of 0 … {self.world_size - 1}.")
        if (self.shuffle or self.drop_last) and self.batch_size > self.n:
            raise UserError(
                f"a batch of {self.batch_size} is more than the {self.n} training images; give at most {self.n}."
            )

    def __len__(self) -> int:
        return self.n // self.batch_size if self.drop_last else math.ceil(self.n / self.batch_size)

    def one_pass(self, epoch: int, offset: int = 0) -> Iterator[Tensor]:
        """This process's share of each batch of `epoch`, from batch number `offset` on."""
        order = shuffled(self.n, self.seed, epoch) if self.shuffle else torch.arange(self.n)
        for batch in order.split(self.batch_size)[offset : len(self)]:
            yield batch.tensor_split(self.world_size)[self.rank]


class Seekable(ABC):
    """A loader that can be put at any iteration, for an exact resume.

    A pass that was given up (`next(iter(loader))`) leaves no trace: the next one begins where it began. A pass that
    reached its last batch is followed by the next epoch.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self._epoch = self._offset = 0

    def __len__(self) -> int:
        return len(self.order)

    def seek(self, iteration: int) -> None:
        """Go on after `iteration` batches in all, counted from the first one of epoch 0."""
        self._epoch, self._offset = divmod(iteration, len(self))

    def __iter__(self) -> Iterator[Batch]:
        epoch, offset = self._epoch, self._offset
        for done, batch in enumerate(self._batches(epoch, offset), offset + 1):
            if done == len(self):  # before the yield: ignite does not ask for more after an epoch's last batch
                self._epoch, self._offset = epoch + 1, 0
            yield batch

    @abstractmethod
    def _batches(self, epoch: int, offset: int) -> Iterator[Batch]:
        """The batches of `epoch` from number `offset` on."""
