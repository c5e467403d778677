"""Published hyper-parameters, one system a file."""

from __future__ import annotations

from ignite_kd.errors import UserError, unknown
from ignite_kd.recipes.base import QUIRKS, Quirk, Recipe
from ignite_kd.recipes.concepts import CONCEPTS
from ignite_kd.recipes.crd import CRD
from ignite_kd.recipes.short import VID_SHORT
from ignite_kd.recipes.vid import VID, VID_RELEASED_CODE
from ignite_kd.recipes.zoo import ZOO

__all__ = ["QUIRKS", "Quirk", "Recipe", "get", "names"]

_RECIPES = {recipe.name: recipe for recipe in (VID, VID_RELEASED_CODE, VID_SHORT, CRD, ZOO, CONCEPTS)}


def names() -> list[str]:
    """The recipes that `get` knows."""
    return list(_RECIPES)


def get(word: str) -> Recipe:
    """A recipe by name, with fields changed where the word says so: `vid,decay=0.1,batch_size=64`."""
    name, *changes = [part.strip() for part in word.split(",")]
    if name not in _RECIPES:
        raise unknown("recipe", name, names())
    settings = {}
    for change in changes:
        field, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"'{change}' in --recipe {word} should read field=value.")
        settings[field.strip()] = value.strip()
    return _RECIPES[name].with_settings(settings)
