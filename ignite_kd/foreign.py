"""No weights that a student learns or starts from may have seen the images that validate it."""

from __future__ import annotations

from typing import Any

from ignite_kd.data.split import Split, overlap
from ignite_kd.errors import UserError
from ignite_kd.loaders import Loaders

__all__ = ["refuse_foreign_weights"]


def refuse_foreign_weights(data: Loaders, card: dict[str, Any] | None, path: str, policy: str) -> str | None:
    """A warning to print, or None; an error where the weights' card says that validation would be worthless.

    `policy` is the recipe's `foreign_teacher`: `refuse`, or `warn` as the released code, which did not look.
    """
    if data.split is None or not len(data.split.validation):
        return None
    told = card.get("data") if card else None
    if not isinstance(told, dict) or not isinstance(told.get("split"), dict) or "digest" not in told:
        return f"warning: no card beside {path} says which images it was trained on; validation may flatter."
    if told["digest"] != data.digest:
        problem = f"{path} was trained on other data ({told['digest']}, here {data.digest})"
    else:
        assert data.labels is not None
        seen = overlap(data.split, Split.from_json(told["split"], data.labels))
        if not seen:
            return None
        problem = f"{path} was trained on {seen} of the {len(data.split.validation)} images that validate the student"
    if policy == "refuse":
        raise UserError(f"{problem}; train it with this split, or add --recipe vid,foreign_teacher=warn.")
    return f"warning: {problem}; validation flatters."
