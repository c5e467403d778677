"""What processes say to each other while they share a batch: rows with their gradient, and numbers of the host."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import ignite.distributed as idist
import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["agree", "gather", "share_sizes"]


def gather(rows: Tensor, sizes: Sequence[int], weight: float) -> Tensor:
    """The rows of all processes in the order of their ranks; process r gives `sizes[r]` of them.

    Gradients are such that the mean over the processes, in which each counts by its `weight` (its share of the batch,
    see `AverageGradients`), is that of the global loss: process r gets Σ_q (w_q / w_r) · the gradient that q has for
    r's rows. One collective forward and, where a gradient is asked for, one backward.
    """
    return rows if len(sizes) == 1 else _Gather.apply(rows, tuple(sizes), weight)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: tuple[int, ...], weight: float) -> Tensor:
        ctx.sizes, ctx.weight = sizes, weight
        longest = max(sizes)
        own = rows.contiguous()
        if len(own) < longest:  # all_gather takes equal parts only
            own = torch.cat([own, own.new_zeros(longest - len(own), *own.shape[1:])])
        parts = [torch.empty_like(own) for _ in sizes]
        dist.all_gather(parts, own)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        # float32 at least: sums of halves over many processes would lose what each adds
        wide = torch.promote_types(gradient.dtype, torch.float32)
        total = gradient.to(wide, memory_format=torch.contiguous_format) * ctx.weight
        dist.all_reduce(total)
        own = total.split(ctx.sizes)[dist.get_rank()] / ctx.weight
        return own.to(gradient.dtype), None, None


def share_sizes(own: int) -> list[int]:
    """How many rows each process has. The hosts tell each other; no GPU is waited for."""
    if idist.get_world_size() == 1:
        return [own]
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(idist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([own]), group=_hosts())
    return [int(size) for size in sizes]


def agree(*numbers: float) -> list[float]:
    """The largest that any process has of each number, the same on all. The hosts tell each other."""
    if idist.get_world_size() == 1:
        return list(numbers)
    largest = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=_hosts())
    return largest.tolist()


def _hosts() -> Any:
    """A group that carries tensors of the CPU, which nccl does not."""
    return None if dist.get_backend() == "gloo" else _gloo(dist.group.WORLD)


@cache
def _gloo(world: Any) -> Any:
    return dist.new_group(backend="gloo")
