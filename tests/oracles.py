"""Numbers that any implementation can generate: the generators of `methods.md` (7.1, 7.2) and of `golden/README.md`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["fill", "h", "wave"]


def h(shape: Sequence[int], seed: int) -> Tensor:
    """H(shape; seed) in float64: integers modulo 65537, then one sine."""
    r = (torch.arange(math.prod(shape)) + seed) % 65537
    q = (r * r % 65537) * r % 65537
    return torch.sin(2 * math.pi * q.double() / 65537).reshape(tuple(shape))


@torch.no_grad()
def fill(module: nn.Module, base: int) -> nn.Module:
    """The module in float64 with every entry of its state set from h; the j-th entry has the seed base + 100 j."""
    module.double()
    norms = {name for name, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)}
    entries = [(key, t) for key, t in module.state_dict().items() if not key.endswith("num_batches_tracked")]
    for j, (key, entry) in enumerate(entries):
        values = h(entry.shape, base + 100 * j)
        owner, _, leaf = key.rpartition(".")
        if entry.dim() >= 2:
            values = values * math.sqrt(3 * entry.shape[0] / entry.numel())
        elif owner in norms and leaf in ("weight", "running_var"):
            values = 1 + (0.2 if leaf == "weight" else 0.5) * values
        else:
            values = 0.1 * values
        entry.copy_(values)
    return module


def wave(n: int, start: int = 0) -> Tensor:
    """sin((start + j) * 12.9898) for j = 0 .. n-1, in float64."""
    return torch.sin((torch.arange(n, dtype=torch.float64) + start) * 12.9898)
