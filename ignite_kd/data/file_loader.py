"""Batches of image files, decoded by an ordinary DataLoader whose workers do not decide anything."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from itertools import count
from multiprocessing.sharedctypes import RawValue
from multiprocessing.util import Finalize
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ignite_kd.data.file_list import unreadable
from ignite_kd.data.order import Order, Seekable
from ignite_kd.data.randomness import number
from ignite_kd.errors import UserError
from ignite_kd.representation import Batch

__all__ = ["FileLoader"]


class FileLoader(Seekable):
    """Batches of image files, decoded by workers, with the same promises as `Stream`.

    The order is a function of (seed, epoch) and each image's random transform of (seed, epoch, index), so the number
    of workers changes nothing. `Batch.indices` are positions in `samples`.

    Where the order is shuffled the workers go on with the next epoch while this one ends, so that a training never
    waits for its first batch. An evaluation would hold those batches through the whole epoch of training before it.

    Args:
        samples: (path, label) of each file; a `FileList` where there are many.
        transform: of an image to a tensor; may draw from torch's generator.
        order: of the samples.
        num_workers: processes; each holds two batches ready.
        image_size: of what `transform` gives.
        pin_memory: for a GPU.
    """

    def __init__(
        self,
        samples: Sequence[tuple[str, int]],
        transform: nn.Module,
        order: Order,
        num_workers: int,
        image_size: int,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(order)
        self.samples = samples
        self._coming = _Coming(order)
        self._going: tuple[int, Iterator[Any]] | None = None  # the epoch whose batches are being decoded already
        self._loader = DataLoader(
            _Files(samples, transform, order.seed),
            batch_sampler=self._coming,
            num_workers=num_workers,
            collate_fn=_Collate(image_size),
            persistent_workers=num_workers > 0,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # its own, or each pass would draw from the global one
            worker_init_fn=_LeaveSignalsToTheTrainer() if num_workers else None,
        )

    def images(self, indices: Sequence[int]) -> Tensor:
        """These samples alone, decoded here, in this order."""
        files = self._loader.dataset
        found = [files[0, index] for index in indices]
        for sample in found:
            if isinstance(sample, UserError):
                raise sample
        return torch.stack([sample[0] for sample in found])

    def _batches(self, epoch: int, offset: int) -> Iterator[Batch]:
        going, self._going = self._going, None
        if going is not None and going[0] == epoch and offset == 0:
            batches = going[1]
        else:
            self._coming.epoch, self._coming.offset = epoch, offset
            batches = iter(self._loader)
        for place in range(offset, len(self)):
            batch = next(batches)
            if isinstance(batch, UserError):
                raise batch
            if place == len(self) - 1 and self._coming.endless:
                self._going = epoch + 1, batches
            yield batch


class _Coming:
    """The keys of the coming batches; the DataLoader asks for a few at a time, anew whenever it starts."""

    epoch = offset = 0

    def __init__(self, order: Order) -> None:
        self.order, self.endless = order, order.shuffle

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self._from(self.epoch, self.offset)

    def _from(self, first: int, offset: int) -> Iterator[list[tuple[int, int]]]:
        for epoch in count(first) if self.endless else [first]:
            for share in self.order.one_pass(epoch, offset):
                yield [(epoch, index) for index in share.tolist()]
            offset = 0


class _Files(Dataset):
    """Image files by (epoch, index)."""

    def __init__(self, samples: Sequence[tuple[str, int]], transform: nn.Module, seed: int) -> None:
        self.samples, self.transform, self.seed = samples, transform, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int] | UserError:
        epoch, index = key
        path, label = self.samples[index]
        try:
            image = _open(path)
        except Exception as error:  # a parser of foreign bytes raises anything
            # Handed on as a value: a DataLoader wraps what a worker raises into a traceback of many lines.
            return unreadable(path, error)
        with torch.random.fork_rng(devices=[]):  # 7 µs, beside 1600 to crop and resize
            # torch.manual_seed would seed the GPU too, which is the training's where there are no workers
            torch.default_generator.manual_seed(number(self.seed, epoch, index))
            return self.transform(image), label, index


def _open(path: str) -> Image.Image:
    """An image as RGB; 16 bits a pixel become 8, which PIL alone would clip to white."""
    with open(path, "rb") as file:
        image: Image.Image = Image.open(file)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
        return image.convert("RGB")


class _Collate:
    """Samples to a `Batch`; of several errors, the first. A process may get no sample of an epoch's last batch."""

    def __init__(self, image_size: int) -> None:
        self.empty = torch.empty(0, 3, image_size, image_size)

    def __call__(self, samples: list[Any]) -> Batch | UserError:
        for sample in samples:
            if isinstance(sample, UserError):
                return sample
        images, labels, indices = zip(*samples, strict=True) if samples else ((), (), ())
        stacked = torch.stack(images) if images else self.empty
        return Batch(stacked, torch.tensor(labels, dtype=torch.long), torch.tensor(indices, dtype=torch.long))


class _LeaveSignalsToTheTrainer:
    """Ctrl-C goes to all processes of a terminal, SIGTERM of SLURM or `timeout` to all of a job; the trainer finishes
    its step first, and ends its workers itself: with SIGTERM, too, but that at its exit."""

    def __init__(self) -> None:
        self.trainer_exits = RawValue("b", 0)  # shared with the workers
        # before multiprocessing ends what is left; `atexit` is too late in a process that it started itself
        Finalize(None, setattr, (self.trainer_exits, "value", 1), exitpriority=0)

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self.trainer_exits.value:
            os._exit(0)  # anything else is told as a failure
