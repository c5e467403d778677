"""A memory of all training images' embeddings, and what contrastive heads draw from it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.vectors import unit

__all__ = ["Draw", "MemoryBank"]


class MemoryBank(nn.Module):
    """The embedding of every training image as it was when last seen: rows of about length one.

    A row moves towards its image's new embedding, `momentum` of it being kept. What is written becomes true when the
    bank is next read or saved: the backward pass of the step that wrote it still needs the old rows, and a copy of
    the bank (25 MB for CIFAR) each step would cost more than the whole loss.

    Args:
        rows: the number of images.
        width: of the embeddings.
        momentum: the share of a row that stays.
    """

    rows: Tensor

    def __init__(self, rows: int, width: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        bound = (3 / width) ** 0.5  # so that a row has length one on average
        self.register_buffer("rows", torch.empty(rows, width).uniform_(-bound, bound))
        self._written: tuple[Tensor, Tensor] | None = None

    def scores(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """⟨vector, row⟩ at the `positions` of each vector, N × K: one product with the whole bank, no rows gathered."""
        self._settle()
        return (vectors @ self.rows.T).gather(1, positions)

    def write(self, indices: Tensor, vectors: Tensor) -> None:
        """Move the rows at `indices` towards `vectors`."""
        self._settle()
        self._written = indices.clone(), vectors.detach()  # a loader may fill its tensors anew for the next batch

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        self._settle()
        return super().state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._written = None
        super()._load_from_state_dict(*args, **kwargs)

    @torch.no_grad()
    def _settle(self) -> None:
        if self._written is not None:
            indices, vectors = self._written
            moved = self.momentum * self.rows[indices] + (1 - self.momentum) * vectors.to(self.rows.dtype)
            self.rows.index_copy_(0, indices, unit(moved))
            self._written = None


class Draw(nn.Module):
    """Draws positions in a memory bank: first a positive, then negatives of other classes, uniformly, without a loop.

    No negative comes twice for one image, unless there are fewer than asked for (of some class): then all are drawn
    with replacement. The images of a batch share one random permutation, each going through it from a place of its
    own, so that for each image every subset is equally likely, while those of two images overlap.

    Args:
        labels: the class of every image.
        negatives: how many to draw.
        relaxed: the positive is any image of the class; else the image itself.
    """

    labels: Tensor
    by_class: Tensor
    first: Tensor
    size: Tensor

    def __init__(self, labels: Tensor, negatives: int, relaxed: bool) -> None:
        super().__init__()
        classes, labels = labels.unique(return_inverse=True)
        sizes = labels.bincount(minlength=len(classes))
        others, largest = len(labels) - int(sizes.max()), int(sizes.max())
        if not others:
            raise UserError("contrasting needs images of two classes or more, but all are of one.")
        self.negatives, self.relaxed, self.replacing = negatives, relaxed, negatives > others
        self.window = min(len(labels), negatives + largest)  # so long, it holds enough images of other classes
        # facts of the data, which a checkpoint need not hold
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("by_class", labels.argsort(stable=True), persistent=False)
        self.register_buffer("first", sizes.cumsum(0) - sizes, persistent=False)
        self.register_buffer("size", sizes, persistent=False)

    def forward(self, indices: Tensor) -> Tensor:
        """N × (1 + negatives) positions for the images at `indices`."""
        own = self.labels[indices]
        positive = indices
        if self.relaxed:
            positive = self.by_class[self.first[own] + _below(self.size[own])]
        negatives = self._repeating(own) if self.replacing else self._distinct(own)
        return torch.cat([positive[:, None], negatives], 1)

    def _distinct(self, own: Tensor) -> Tensor:
        count = len(self.labels)
        order = torch.randperm(count, device=own.device)
        order = torch.cat([order, order[: self.window - 1]])  # a circle, whose windows are views: far cheaper to read
        start = torch.randint(count, (len(own),), device=own.device)
        seen = order.unfold(0, self.window, 1)[start]
        other = self.labels[order].unfold(0, self.window, 1)[start] != own[:, None]
        place = other.cumsum(1) - 1
        # what is not wanted goes into one column more, which is cut off
        place = place.masked_fill(~other | (place >= self.negatives), self.negatives)
        return seen.new_empty(len(own), self.negatives + 1).scatter_(1, place, seen)[:, :-1]

    def _repeating(self, own: Tensor) -> Tensor:
        first, size = self.first[own][:, None], self.size[own][:, None]
        drawn = _below((len(self.labels) - size).expand(-1, self.negatives))
        return self.by_class[drawn + size * (drawn >= first)]


def _below(bound: Tensor) -> Tensor:
    """Whole numbers from 0 up to, but without, each bound."""
    return torch.randint(2**62, bound.shape, device=bound.device) % bound
