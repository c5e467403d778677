"""Values out of JSON as a dataclass, believed only as far as they are of the types that it names."""

from __future__ import annotations

import collections.abc
import math
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["checked"]

T = TypeVar("T")


def checked(kind: type[T], content: Any) -> T:
    """`kind(**content)`; a ValueError that names the field where a value is of another type."""
    if not isinstance(content, dict):
        raise ValueError(f"{str(content)[:40]!r} should be an object")
    for name, hint in get_type_hints(kind).items():
        if name in content and not _fits(content[name], hint):
            words = hint.__name__ if isinstance(hint, type) else str(hint)
            raise ValueError(f"its {name} should be {words.replace('collections.abc.', '')}, not {content[name]!r:.60}")
    try:
        return kind(**content)
    except TypeError as error:
        raise ValueError(str(error).partition("() ")[2] or str(error)) from None


def _fits(value: Any, hint: Any) -> bool:
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if kind in (dict, collections.abc.Mapping):
        return isinstance(value, dict) and all(_fits(each, inner[1]) for each in value.values())
    if kind is collections.abc.Sequence:
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    if kind in (int, float):
        numbers = (int, float) if kind is float else int
        return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
    return kind is Any or isinstance(value, kind)
