"""A good teacher in a seventh of the published epochs, for machines on which these take days."""

from __future__ import annotations

import dataclasses

from ignite_kd.recipes.vid import VID

__all__ = ["VID_SHORT"]

VID_SHORT = dataclasses.replace(
    VID,
    name="vid-short",
    source="recipe vid with one cycle of the learning rate (Smith and Topin, arXiv:1708.07120) and Nesterov's momentum",
    epochs=30,
    schedule="one-cycle",
    learning_rate=0.2,
    nesterov=True,
)
