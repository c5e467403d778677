"""From the options that all trainings share to a plan that runs."""

from __future__ import annotations

import os
from typing import Any

from ignite_kd import recipes
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan

__all__ = ["train"]


def train(shared: dict[str, Any], **wanted: Any) -> int:
    """Check what can be checked at once, then train; returns the exit status."""
    settings = dict(shared)
    recipe = settings.pop("recipe")
    recipe = recipe if isinstance(recipe, recipes.Recipe) else recipes.get(recipe)
    epochs = settings.pop("max_epochs") or recipe.epochs
    max_restarts = settings.pop("max_restarts")
    processes = max(settings.pop("nproc_per_node"), int(os.environ.get("WORLD_SIZE", "1")))
    plan = Plan(
        recipe=recipe,
        max_epochs=epochs,
        processes=processes,
        compile=settings.pop("compile_"),
        **settings,
        **wanted,
    )
    names = [term.method for term in plan.terms if term.factor]
    if len(set(names)) < len(names):
        raise UserError(
            f"a method may stand once in the loss, but {', '.join(names)} were given; add their factors up."
        )
    if not names:
        raise UserError("every factor of the loss is zero: nothing would be learned.")

    from ignite_kd.launch import launch  # torch is imported here: a typo above is answered at once

    return launch(plan, max_restarts)
