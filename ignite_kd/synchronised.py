"""Batch norms whose statistics are those of the whole batch, however many processes share it."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import ignite.distributed as idist
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ignite_kd.distributed import gather

__all__ = ["synchronise_batch_norms"]


def synchronise_batch_norms(module: nn.Module) -> None:
    """Let the batch norms in `module` use the statistics of all processes where they are in training mode.

    They stay what they are, with their parameters and names. Each costs one collective of 2 · channels + 1 numbers
    forward and one backward; those in eval mode, and all in a single process, do what they did before.
    """
    for norm in module.modules():
        if isinstance(norm, _BatchNorm) and not isinstance(norm, (_Synchronised, nn.SyncBatchNorm)):
            cast(Any, norm).__class__ = _synchronised(type(norm))  # type: ignore[arg-type]


@cache
def _synchronised(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"Synchronised{kind.__name__}", (_Synchronised, kind), {})


class _Synchronised(nn.Module):
    """Comes before a class of batch norms. torch's own `SyncBatchNorm` works on GPUs only."""

    def forward(self, input: Tensor) -> Tensor:
        processes = idist.get_world_size()
        if processes == 1 or not self.training:
            return super().forward(input)
        norm = cast(_BatchNorm, self)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        count = input.numel() // input.shape[1]
        variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
        own = torch.cat([mean, variance, mean.new_full((1,), count)])
        shares = gather(own[None], [1] * processes, count)
        counts = shares[:, -1:].detach()
        means, variances = shares[:, :-1].chunk(2, 1)
        total = counts.sum()
        mean = (means * counts).sum(0) / total
        # Chan, Golub, LeVeque, 1979: what lies within the shares, and between them
        variance = ((variances + (means - mean).square()) * counts).sum(0) / total
        _remember(norm, mean.detach(), variance.detach() * total / (total - 1).clamp_min(1))
        scale = torch.rsqrt(variance + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
        shape = [1, -1] + [1] * (x.dim() - 2)
        return torch.addcmul(shift.view(shape), x, scale.view(shape)).to(input.dtype)


@torch.no_grad()
def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """The running statistics, as torch moves them; the variance is the unbiased one."""
    running: Any = norm.running_mean, norm.running_var
    if not norm.track_running_stats or running[0] is None:
        return
    steps = cast(Tensor, norm.num_batches_tracked)
    steps += 1
    momentum = 1 / steps.to(mean.dtype) if norm.momentum is None else norm.momentum
    for known, found in zip(running, (mean, variance), strict=True):
        known += momentum * (found.to(known.dtype) - known)
