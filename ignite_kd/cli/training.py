"""From the options that all trainings share to a plan that runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ignite_kd import recipes
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan, Term

__all__ = ["check_terms", "train"]


def train(shared: dict[str, Any], **wanted: Any) -> int:
    """Check what can be checked at once, then train; returns the exit status."""
    settings = dict(shared)
    recipe = settings.pop("recipe")
    recipe = recipe if isinstance(recipe, recipes.Recipe) else recipes.get(recipe)
    epochs = settings.pop("max_epochs") or recipe.epochs
    processes = max(settings.pop("nproc_per_node"), int(os.environ.get("WORLD_SIZE", "1")))
    plan = Plan(
        recipe=recipe,
        max_epochs=epochs,
        processes=processes,
        compile=settings.pop("compile_"),
        **settings,
        **wanted,
    )
    check_terms(plan.terms)

    from ignite_kd.launch import launch  # torch is imported here: a typo above is answered at once

    return launch(plan)


def check_terms(terms: Sequence[Term]) -> None:
    """Refuse a sum in which a method stands twice, or nothing."""
    names = [term.method for term in terms if term.factor]
    if len(set(names)) < len(names):
        raise UserError(
            f"a method may stand once in the loss, but {', '.join(names)} were given; add their factors up."
        )
    if not names:
        raise UserError("every factor of the loss is zero: nothing would be learned.")
