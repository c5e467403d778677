"""Explaining distillation by quantifying the knowledge: trainings that keep their history."""

from __future__ import annotations

from ignite_kd.recipes.base import PUBLISHED_HISTORY, Recipe

__all__ = ["CONCEPTS"]

CONCEPTS = Recipe(
    name="concepts",
    source="Cheng, Rao, Chen, Zhang, CVPR 2020, arXiv:2003.03622, and its code: the epochs that are kept, batch, "
    "epochs, momentum and weight decay; the learning rate falls at once to its end, not along a logarithm",
    epochs=150,
    batch_size=64,
    learning_rate=1e-2,
    weight_decay=1e-4,
    milestones=(75,),
    decay=0.1,
    keep_epochs=PUBLISHED_HISTORY,
)
