"""Batches of image files, decoded by an ordinary DataLoader whose workers do not decide anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ignite_kd.data.order import Order, Seekable
from ignite_kd.data.randomness import hashed
from ignite_kd.errors import UserError
from ignite_kd.representation import Batch

__all__ = ["FileLoader"]


class FileLoader(Seekable):
    """Batches of image files, decoded by workers, with the same promises as `Stream`.

    The order is a function of (seed, epoch) and each image's random transform of (seed, epoch, index), so the number
    of workers changes nothing. `Batch.indices` are positions in `samples`.
    """

    def __init__(
        self, samples: list[tuple[str, int]], transform: nn.Module, order: Order, num_workers: int, image_size: int
    ) -> None:
        super().__init__(order)
        self.samples = samples
        self._pending: list[list[tuple[int, int]]] = []  # read by the DataLoader anew for each pass
        self._loader = DataLoader(
            _Files(samples, transform, order.seed),
            batch_sampler=self._pending,
            num_workers=num_workers,
            collate_fn=_Collate(image_size),
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # its own, or each pass would draw from the global one
        )

    def _batches(self, epoch: int, offset: int) -> Iterator[Batch]:
        self._pending[:] = [[(epoch, i) for i in share.tolist()] for share in self.order.one_pass(epoch, offset)]
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch


class _Files(Dataset):
    """Image files by (epoch, index)."""

    def __init__(self, samples: list[tuple[str, int]], transform: nn.Module, seed: int) -> None:
        self.samples, self.transform, self.seed = samples, transform, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int] | UserError:
        epoch, index = key
        path, label = self.samples[index]
        try:
            image = _open(path)
        except Exception as error:  # a parser of foreign bytes raises anything
            # Handed on as a value: a DataLoader wraps what a worker raises into a traceback of many lines.
            reason = getattr(error, "strerror", None) or "it is damaged or no image"
            return UserError(f"{path} cannot be read ({reason}); repair it or take it away.")
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed the GPU too, which is the training's where there are no workers
            torch.default_generator.manual_seed(int(hashed(self.seed, epoch, index)))
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
