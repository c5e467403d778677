"""Published hyper-parameters, one system a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ignite_kd.errors import UserError, unknown
from ignite_kd.recipes.base import QUIRKS, Quirk, Recipe
from ignite_kd.recipes.concepts import CONCEPTS
from ignite_kd.recipes.crd import CRD
from ignite_kd.recipes.short import VID_SHORT
from ignite_kd.recipes.small_data import VID_SMALL_DATA
from ignite_kd.recipes.vid import VID, VID_RELEASED_CODE
from ignite_kd.recipes.zoo import ZOO

__all__ = ["QUIRKS", "Quirk", "Recipe", "changes_of", "get", "names", "told"]

_RECIPES = {recipe.name: recipe for recipe in (VID, VID_RELEASED_CODE, VID_SHORT, VID_SMALL_DATA, CRD, ZOO, CONCEPTS)}


def names() -> list[str]:
    """The recipes that `get` knows."""
    return list(_RECIPES)


def changes_of(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in which a recipe, as a record holds it, differs from the one that it is named after."""
    named = _RECIPES.get(recorded["name"])
    usual = _plain(dataclasses.asdict(named)) if named else {}
    return {
        field: value for field, value in _plain(recorded).items() if field != "source" and value != usual.get(field)
    }


def _plain(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(recipe)))  # tuples are lists there


def told(name: str, changes: Mapping[str, Any]) -> str:
    """A recipe in words: `vid (learning_rate 0.05, gradient_norm 5.0)`."""
    return name + (f" ({', '.join(f'{field} {value}' for field, value in changes.items())})" if changes else "")


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
