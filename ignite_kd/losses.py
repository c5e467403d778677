"""From a term of a plan to its head: what the recipe, the models and the data have to say about it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ignite_kd import heads
from ignite_kd.errors import UserError
from ignite_kd.heads.first_stage import FirstStage
from ignite_kd.recipes.base import QUIRKS, Recipe
from ignite_kd.terms import Term

__all__ = ["build_head", "first_stage"]


def build_head(
    term: Term, recipe: Recipe, student: nn.Module, teacher: nn.Module | None, labels: Tensor, image_size: int
) -> heads.Head:
    """The head of `term`. Options that the user leaves open are the recipe's quirks and the facts of the data."""
    known = heads.options(term.method)
    given = {quirk: getattr(recipe, quirk) for quirk in QUIRKS} | {"labels": labels, "image_size": image_size}
    options: dict[str, Any] = {name: value for name, value in given.items() if name in known} | term.options
    try:
        return heads.build(term.method, student=student, teacher=teacher, **options)
    except UserError:
        raise
    except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        told = ", ".join(f"{name}={value}" for name, value in term.options.items())
        raise UserError(f"--loss {term.method} cannot be built with {told or 'its defaults'}: {error}.") from None


def first_stage(head: heads.Head, student: nn.Module, recipe: Recipe) -> tuple[FirstStage | None, bool]:
    """What the head trains before the student proper learns, and whether its loss counts after that."""
    stage = head.first_stage(student) if recipe.first_stage_epochs else None
    return stage, stage is None or not stage.replaces_main
