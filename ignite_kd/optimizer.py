"""The descent that a recipe asks for."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ignite_kd.recipes.base import Recipe

__all__ = ["sgd"]


def sgd(recipe: Recipe, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.SGD:
    """Stochastic gradient descent with the recipe's momentum and weight decay, of a student or of a first stage."""
    return torch.optim.SGD(
        parameters,
        lr=learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,  # one kernel for all parameters
    )
