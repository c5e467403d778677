"""The golden input sets S, T, B and D of `methods.md` 7.3 as representations, and what is measured on them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from oracles import h

from ignite_kd.representation import Features, Representation

__all__ = ["channels", "measured", "norm", "seen", "strides"]

STAGES = ("stem", "layer1", "layer2", "layer3")
SETS = {
    "S": ([(8, 16, 16), (8, 16, 16), (16, 8, 8), (32, 4, 4)], 11),
    "T": ([(16, 16, 16), (16, 16, 16), (32, 8, 8), (64, 4, 4)], 503),
    "B": ([(12, 8, 8), (12, 8, 8), (24, 4, 4), (48, 2, 2)], 207),
    "D": ([(16, 16, 16), (16, 16, 16), (32, 8, 8), (64, 4, 4)], 11),
}


def seen(letter, rectified=True):
    """A set with gradients: "post", rectified; or "pre", before that, where the stem has no place."""
    shapes, seed = SETS[letter]
    maps = {stage: h((8, *shape), 1000 * i + seed) for i, (stage, shape) in enumerate(zip(STAGES, shapes, strict=True))}
    if rectified:
        maps = {stage: F.relu(x) for stage, x in maps.items()}
    maps = {stage: x.requires_grad_() for stage, x in maps.items()}
    logits = torch.zeros(8, 10).double()
    if rectified:
        return Representation(logits, Features(maps))
    del maps["stem"]
    return Representation(logits, before_relu=Features(maps))


def channels(letter):
    return {stage: shape[0] for stage, shape in zip(STAGES, SETS[letter][0], strict=True)}


def strides(letter):
    """As of images of 32 × 32."""
    return {stage: 32 // shape[1] for stage, shape in zip(STAGES, SETS[letter][0], strict=True)}


def norm(tensors):
    return math.sqrt(sum(t.square().sum().item() for t in tensors))


def measured(head, student, teacher):
    """The loss, the norm of the gradient of each feature that has one, that of all the head's parameters together."""
    loss = head(student, teacher, None)
    loss.backward()
    maps = [*student.features.values(), *student.before_relu.values()]
    assert all(x.grad is None for x in (*teacher.features.values(), *teacher.before_relu.values()))
    return {
        "loss": loss.item(),
        "grad": [x.grad.norm().item() for x in maps if x.grad is not None],
        "aux": norm(p.grad for p in head.parameters() if p.requires_grad),
    }
