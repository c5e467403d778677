"""The numbers that decide an entropy map; the published ones, each with its source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ignite_kd.errors import UserError

__all__ = ["HALF_LOG_2_PI_E", "SOURCES", "Constants"]

HALF_LOG_2_PI_E = 0.5 * math.log(2 * math.pi * math.e)  # entropy of a normal number is this + ln sigma, in nats

_PUBLISHED_GRID, _PUBLISHED_SIGMA, _PUBLISHED_THRESHOLD = 16, 0.01, -2.8

_CODE = "the code released with Cheng, Rao, Chen, Zhang, CVPR 2020, arXiv:2003.03622"
SOURCES = {
    "grid": f"{_CODE}: 16, whatever the image's size",
    "entropy_weight": f"{_CODE}, in the loop, overriding its command line: 7 for vgg and alexnet, 6 for resnet",
    "first_sigma": f"{_CODE}: 0.01 in units of the images' deviation",
    "samples": f"{_CODE}: batches of 96 noisy copies",
    "steps": f"{_CODE}: at most 80",
    "check_after": f"{_CODE}: after 80 - 20 steps it is looked once whether the threshold was passed",
    "weight_growth": f"{_CODE}: otherwise the entropy weighs 1.5 times as much in the steps that are left",
    "threshold": f"{_CODE}: -2.8 nats a cell, with first sigma 0.01; with another one as far above the start",
    "learning_rate": f"{_CODE}: 1e-4 for a grid of 16; first_sigma² · cells / 256 gives the same map with any grid",
    "lowest": f"{_CODE}: sigma is kept above 0.001, a tenth of the first",
    "highest": f"{_CODE}: and below 1, a hundred times the first",
}


@dataclass(frozen=True, kw_only=True)
class Constants:
    """The result is a snapshot of a trajectory: rate, weight and number of steps define it as the threshold does.

    Args:
        grid: cells along each side of the image.
        entropy_weight: of the mean entropy against the disturbance of the feature (the paper's lambda, times cells).
        first_sigma: where all cells start, in units of the images.
        samples: noisy copies of an image a step.
        steps: at most.
        check_after: after so many steps the entropy weighs more where the threshold was not passed.
        weight_growth: by so much.
        threshold: mean entropy at which the map is taken; None: the published one, for this first sigma.
        learning_rate: of sigma; None: the published one, for this grid and first sigma.
        lowest, highest: bounds of sigma, as multiples of the first.
    """

    grid: int = _PUBLISHED_GRID
    entropy_weight: float = 7.0
    first_sigma: float = _PUBLISHED_SIGMA
    samples: int = 96
    steps: int = 80
    check_after: int = 60
    weight_growth: float = 1.5
    threshold: float | None = None
    learning_rate: float | None = None
    lowest: float = 0.1
    highest: float = 100.0

    def __post_init__(self) -> None:
        for field in ("grid", "entropy_weight", "first_sigma", "samples", "steps", "learning_rate"):
            value = getattr(self, field)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{field} of the sigma maps should be positive, but {value} was given.")
        if not math.isfinite(self.theta):
            raise UserError(f"the threshold of the sigma maps should be a number of nats, not {self.threshold}.")

    @classmethod
    def of(cls, network: str, entropy_weight: float | None = None, **others: Any) -> Constants:
        """The published ones for a network of this name; families that were not published have those of vgg.

        With another weight the same margin means another share of the gradient's energy, so networks should be
        compared with one weight.
        """
        residual = network.removeprefix("torchvision:").lower().startswith("resnet")
        weight = (6.0 if residual else 7.0) if entropy_weight is None else entropy_weight
        return cls(entropy_weight=weight, **others)

    @property
    def cells(self) -> int:
        return self.grid**2

    @property
    def theta(self) -> float:
        """The threshold, in nats a cell."""
        shift = math.log(self.first_sigma / _PUBLISHED_SIGMA)
        return _PUBLISHED_THRESHOLD + shift if self.threshold is None else self.threshold

    @property
    def start(self) -> float:
        """The mean entropy at the first step."""
        return math.log(self.first_sigma) + HALF_LOG_2_PI_E

    @property
    def rate(self) -> float:
        """The learning rate."""
        usual = self.first_sigma**2 * self.cells / _PUBLISHED_GRID**2
        return usual if self.learning_rate is None else self.learning_rate
