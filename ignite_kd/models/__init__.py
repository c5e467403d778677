"""Networks that say what they compute: `model(images)` gives logits, `model.represent(images)` the features too.

Every model has `name`, `num_classes` and `channels`: stage → channels, in order, `pooled` last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from ignite_kd.errors import unknown
from ignite_kd.models.mlp import MLP
from ignite_kd.models.tap import tap
from ignite_kd.models.wrn import WideResNet

__all__ = ["MLP", "WideResNet", "build", "names", "tap"]


class _Family(NamedTuple):
    pattern: str
    build: Callable[..., nn.Module]  # gets the pattern's groups, as text, then num_classes and the options
    listed: tuple[str, ...]


_FAMILIES = (
    _Family(
        r"wrn_(\d+)_(\d+)",
        lambda depth, width, **options: WideResNet(int(depth), int(width), **options),
        ("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2"),
    ),
    _Family(r"mlp(?:_(\d+))?", lambda width, **options: MLP(int(width or 1024), **options), ("mlp_1024",)),
)


def build(name: str, num_classes: int = 10, **options: Any) -> nn.Module:
    """The network called `name`, freshly initialised from torch's random state.

    Beside the names of `names()`, a family builds every size that its scheme has room for, e.g. `wrn_28_10`.
    """
    for family in _FAMILIES:
        if match := re.fullmatch(family.pattern, name):
            return family.build(*match.groups(), num_classes=num_classes, **options)
    raise unknown("model", name, names())


def names() -> list[str]:
    """The names that benchmarks use."""
    return [name for family in _FAMILIES for name in family.listed]
