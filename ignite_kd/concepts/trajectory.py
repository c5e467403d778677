"""The path of sigma from a small noise to the threshold, whoever says how much a noise disturbs the feature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import torch
from torch import Tensor

from ignite_kd.concepts.constants import HALF_LOG_2_PI_E, Constants

__all__ = ["EntropyMaps", "Pull", "Status", "descend"]

# (sigma A × S × S, which images A, step) → (how much their features are disturbed A, its gradient A × S × S)
Pull = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


class Status(IntEnum):
    """What came of an image."""

    OK = 0
    SILENT = 1  # a small noise does not change the feature at all: nothing to be measured
    NEVER = 2  # sigma never reached the threshold; the map is the nearest one

    def __str__(self) -> str:
        return ("ok", "the feature does not move", "the threshold was never reached")[self]


@dataclass(frozen=True)
class EntropyMaps:
    """What N images lose of their pixels on the way to a feature.

    Args:
        entropies: N × S × S, in nats; high where a layer does not care, NaN for a silent image.
        steps: N, the step (from 0) whose sigma was taken, -1 for a silent image; a fraction from the closed form.
        traces: N × steps, the mean entropy at each step; NaN after the last one that was needed.
        losses: N × steps, how much the feature was disturbed there, as a multiple of the start.
        status: N, of `Status`.
    """

    entropies: Tensor
    steps: Tensor
    traces: Tensor
    losses: Tensor
    status: Tensor

    def __len__(self) -> int:
        return len(self.steps)

    @staticmethod
    def joined(parts: Sequence[EntropyMaps]) -> EntropyMaps:
        return EntropyMaps(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(EntropyMaps)))

    def cpu(self) -> EntropyMaps:
        return EntropyMaps(*(getattr(self, f.name).cpu() for f in fields(EntropyMaps)))


def descend(
    pull: Pull, silent: Tensor, constants: Constants, dtype: torch.dtype, early_stop: bool = True
) -> EntropyMaps:
    """Gradient descent on disturbance - weight · mean entropy, each image by itself; silent ones are left out.

    An image is done as soon as its mean entropy, never having fallen, passes the threshold: the nearest step is then
    this one or the one before, as among all steps, unless it would fall back later, which was never seen. One whose
    entropy fell goes on to the published end.
    """
    count, device, c = len(silent), silent.device, constants
    sigma = torch.full((count, c.grid, c.grid), c.first_sigma, dtype=dtype, device=device)
    weight = torch.full((count, 1, 1), c.entropy_weight, dtype=dtype, device=device)
    entropies, steps = torch.full_like(sigma, torch.nan), sigma.new_full((count,), -1)
    traces, losses = (sigma.new_full((count, c.steps), torch.nan) for _ in range(2))
    nearest, last, highest = (sigma.new_full((count,), sign * torch.inf) for sign in (1, -1, -1))
    rising = torch.ones(count, dtype=torch.bool, device=device)
    active = torch.nonzero(~silent).flatten()
    for step in range(c.steps):
        s = sigma[active].clamp(c.lowest * c.first_sigma, c.highest * c.first_sigma)
        h = s.log() + HALF_LOG_2_PI_E
        mean = h.mean((1, 2))
        traces[active, step] = mean
        better = (mean - c.theta).abs() < nearest[active]  # the first one of equals
        chosen = active[better]
        nearest[chosen], entropies[chosen], steps[chosen] = (mean - c.theta).abs()[better], h[better], float(step)
        rising[active] &= mean >= last[active]
        last[active], highest[active] = mean, torch.maximum(mean, highest[active])

        done = rising[active] & (mean >= c.theta) if early_stop else torch.zeros_like(better)
        if step == c.check_after - 1:
            done |= highest[active] > c.theta
        active, s = active[~done], s[~done]
        if len(active) == 0 or step == c.steps - 1:
            break
        losses[active, step], slope = pull(s, active, step)
        sigma[active] = s - c.rate * (slope - weight[active] / (c.cells * s))
        if step == c.check_after - 1:
            weight[active] *= c.weight_growth
    status = torch.where(highest >= c.theta, Status.OK, Status.NEVER).masked_fill(silent, Status.SILENT)
    return EntropyMaps(entropies, steps, traces, losses, status.to(torch.int8))
