"""Whether a network can learn from the smallest batch that it will see: an epoch's last one, or a process's share."""

from __future__ import annotations

import torch
from torch import nn

from ignite_kd.engines import evaluating
from ignite_kd.errors import UserError
from ignite_kd.loaders import Loaders
from ignite_kd.plan import Plan

__all__ = ["normalises_single_numbers", "refuse_a_batch_of_one"]


def refuse_a_batch_of_one(plan: Plan, model: nn.Module, data: Loaders, processes: int) -> None:
    """A batch norm of single numbers cannot learn from one image, and the last batch of an epoch may have but one.

    No network can learn from none, which is what a process may get of a last batch.
    """
    order = data.train.order
    smallest = (order.n % order.batch_size or order.batch_size) // order.world_size
    # two processes with an image each share two
    alone = smallest == 1 and processes == 1
    if smallest < 1 or (alone and normalises_single_numbers(model, data.image_size)):
        raise UserError(
            f"{order.n} images in batches of {order.batch_size} leave a batch of {smallest}, from which "
            f"{plan.student} cannot learn; choose another --recipe {plan.recipe.name},batch_size=N."
        )


def normalises_single_numbers(model: nn.Module, image_size: int) -> bool:
    """Whether a batch norm gets one number a channel and image: of a vector, or of a map of one pixel."""
    found: list[bool] = []

    def look(norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        found.append(inputs[0][0, 0].numel() == 1)

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    with evaluating(model), torch.no_grad():
        model(torch.zeros(1, 3, image_size, image_size))
    for hook in hooks:
        hook.remove()
    return any(found)
