"""Which trainings are one method with several seeds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["by_seed"]

_SEED = re.compile(r"[-_/]?(?:seed|trial)[-_]?\d+", re.IGNORECASE)
_NUMBER = re.compile(r"[-_/.]\d+$")


def by_seed(names: Sequence[str], identities: Sequence[Mapping[str, Any] | None]) -> dict[str, list[str]]:
    """Method → its networks, in their order.

    Those belong together whose plans differ by the seed alone; without a plan, those whose names do. A training that
    is there twice is no second seed: it stands by itself.
    """
    groups: dict[str, list[str]] = {}
    seen: set[str] = set()
    for name, identity in zip(names, identities, strict=True):
        if identity is None:
            key = f"name {_SEED.sub('', name)}"
        else:
            key = json.dumps({k: v for k, v in identity.items() if k not in ("seed", "order_seed")}, sort_keys=True)
            whole = json.dumps(identity, sort_keys=True)
            key = f"{name} again" if whole in seen else key
            seen.add(whole)
        groups.setdefault(key, []).append(name)
    found: dict[str, list[str]] = {}
    for members in groups.values():
        short = members[0]
        if len(members) > 1:
            short = (_SEED if _SEED.search(short) else _NUMBER).sub("", short)
            if not short or short in names or short in found:  # a run must not be mistaken for its method
                short = f"{members[0]} and its seeds"
        found[short] = members
    return found
