"""The margin by which a cell must differ from the background to be a concept: published, or chosen by a rule.

Choose it once, on the last checkpoint of the network trained alone, and use it for all networks and checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.metrics import background_level
from ignite_kd.concepts.probes import linear_maps
from ignite_kd.errors import UserError, unknown

__all__ = ["PUBLISHED", "RULES", "SWEEP", "choose_margin", "noise_floor", "null_quantile", "otsu", "physical"]

PUBLISHED = 0.2
SWEEP = (0.05, 0.1, 0.2, 0.3, 0.5)  # show the metrics for these beside the margin that was chosen
RULES = ("published", "null-quantile", "otsu", "physical")


def null_quantile(maps: Tensor, background: Tensor, quantile: float = 0.95) -> float:
    """The margin that so many of the background's own cells stay below; maps images × S × S."""
    lower = _below_level(maps, background)
    return float(lower[background].quantile(quantile))


def otsu(maps: Tensor, background: Tensor) -> float:
    """The margin that divides all cells into the two groups with the most variance between them (Otsu, 1979).

    Exact: every gap between neighbouring values is tried. The mask serves for the background's level alone.
    """
    values = _below_level(maps, background).flatten().double().sort().values
    if values[0] == values[-1]:
        raise UserError("all cells have one entropy, so no margin divides them; take the published one.")
    n = len(values)
    left = torch.arange(1, n, dtype=torch.float64)
    sums = values.cumsum(0)
    apart = sums[:-1] / left - (sums[-1] - sums[:-1]) / (n - left)
    place = int((left * (n - left) * apart.square()).argmax())
    return float((values[place] + values[place + 1]) / 2)


def physical(energy_ratio: float, constants: Constants, share: float = 0.1) -> float:
    """The margin of a cell with so many times the background's gradient energy, where such are this share of cells.

    The same ratio means the same for networks whose weight of the entropy differs; the same margin does not.
    """
    if energy_ratio <= 1 or not 0 < share < 1:
        raise UserError(f"a ratio above 1 and a share between 0 and 1 are needed, not {energy_ratio} and {share}.")
    energy = torch.ones(1, constants.grid, constants.grid, dtype=torch.float64)
    energy.flatten()[: max(1, int(share * constants.cells))] = energy_ratio
    maps = linear_maps(energy, constants).entropies.flatten()
    return float(maps[-1] - maps[0])


def noise_floor(maps: Tensor, other_noise: Tensor) -> float:
    """Three times the deviation that noise alone gives an entropy, from maps with two seeds; no margin below it."""
    apart = (maps - other_noise)[~(maps.isnan() | other_noise.isnan())]
    return float(3 * apart.std(correction=0) / 2**0.5)


def choose_margin(
    rule: str, maps: Tensor, background: Tensor, constants: Constants, energy_ratio: float = 2.3, floor: float = 0.0
) -> float:
    """The margin by one of `RULES`, not below the floor."""
    if rule not in RULES:
        raise unknown("rule of the margin", rule, RULES)
    margin = {
        "published": lambda: PUBLISHED,
        "null-quantile": lambda: null_quantile(maps, background),
        "otsu": lambda: otsu(maps, background),
        "physical": lambda: physical(energy_ratio, constants),
    }[rule]()
    return max(margin, floor)


def _below_level(maps: Tensor, background: Tensor) -> Tensor:
    return background_level(maps[:, None], background) - maps
