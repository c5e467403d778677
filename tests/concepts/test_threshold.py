import math
import statistics

import pytest
import torch

from ignite_kd.concepts import threshold
from ignite_kd.concepts.constants import Constants
from ignite_kd.errors import UserError

# two images of four cells; the first two cells of each are ground
MAPS = torch.tensor([[[-2.0, -2.2], [-2.9, -3.1]], [[-2.4, -2.6], [-2.3, -3.4]]], dtype=torch.float64)
GROUND = torch.tensor([[[True, True], [False, False]]]).expand(2, 2, 2)


@pytest.mark.parametrize(
    ("weight", "share", "ratio", "margin"),
    [(7, 0.05, 1.5, 0.087), (7, 0.05, 2, 0.166), (7, 0.2, 2.5, 0.199), (7, 0.05, 3, 0.297), (7, 0.2, 4, 0.310),
     (7, 0.05, 6, 0.567), (7, 0.2, 6, 0.404), (7, 0.05, 10, 0.760), (7, 0.2, 10, 0.498), (6, 0.05, 2, 0.206)],
)  # fmt: skip
def test_the_margins_of_energies_that_were_written_down(weight, share, ratio, margin):
    found = threshold.physical(ratio, Constants(entropy_weight=weight), share)
    assert found == pytest.approx(margin, abs=6e-4)


def test_a_quantile_of_the_ground():
    """The ground's level is -2.3; below it its own cells lie by -0.3, -0.1, 0.1 and 0.3."""
    assert threshold.null_quantile(MAPS, GROUND, 0.5) == pytest.approx(0.0, abs=1e-12)
    assert threshold.null_quantile(MAPS, GROUND, 1.0) == pytest.approx(0.3)


def test_otsu_by_trying_every_division():
    values = sorted(-2.3 - value for value in MAPS.flatten().tolist())

    def between(place):
        low, high = values[:place], values[place:]
        return len(low) * len(high) * (statistics.fmean(high) - statistics.fmean(low)) ** 2

    best = max(range(1, len(values)), key=between)
    assert threshold.otsu(MAPS, GROUND) == pytest.approx((values[best - 1] + values[best]) / 2)
    with pytest.raises(UserError, match="all cells have one entropy"):
        threshold.otsu(torch.zeros(1, 2, 2), GROUND[:1])


def test_the_floor_is_three_deviations_of_the_noise():
    """Two maps with independent errors of 0.01 differ by 0.01 √2."""
    generator = torch.Generator().manual_seed(0)
    one, other = (0.01 * torch.randn(200, 8, 8, generator=generator) for _ in range(2))
    other[0] = math.nan
    assert threshold.noise_floor(one, other) == pytest.approx(0.03, rel=0.03)


def test_a_rule_by_name_and_never_below_the_floor():
    assert threshold.choose_margin("published", MAPS, GROUND, Constants()) == 0.2
    assert threshold.choose_margin("published", MAPS, GROUND, Constants(), floor=0.25) == 0.25
    assert threshold.choose_margin("otsu", MAPS, GROUND, Constants()) == threshold.otsu(MAPS, GROUND)
    with pytest.raises(UserError, match="did you mean 'otsu'"):
        threshold.choose_margin("otzu", MAPS, GROUND, Constants())
    with pytest.raises(UserError, match="a ratio above 1"):
        threshold.physical(1.0, Constants())
