"""No weights that a student learns or starts from may have seen the images that validate it."""

from __future__ import annotations

from typing import Any

from ignite_kd.cards import seen_by
from ignite_kd.data.split import Split, overlap
from ignite_kd.errors import UserError
from ignite_kd.loaders import Loaders

__all__ = ["refuse_foreign_weights"]


def refuse_foreign_weights(data: Loaders, card: dict[str, Any] | None, path: str, policy: str) -> str | None:
    """A warning to print, or None; an error where the weights' card says that validation would be worthless. The
    weights that their training started from, and those before them, count as they do.

    `policy` is the recipe's `foreign_teacher`: `refuse`, or `warn` as the released code, which did not look.
    """
    if data.split is None or not len(data.split.validation):
        return None
    warning = None
    for generation, told in enumerate(seen_by(card)):
        what = path if generation == 0 else f"what {path} started from"
        if not isinstance(told.get("split"), dict) or "digest" not in told:
            beside = f"beside {path} says which images it" if generation == 0 else f"says which images {what}"
            warning = f"warning: no card {beside} was trained on; validation may flatter."
            continue
        problem = _problem(data, told, what)
        if problem and policy == "refuse":
            raise UserError(f"{problem}; train it with this split, or add foreign_teacher=warn to --recipe.")
        if problem:
            return f"warning: {problem}; validation flatters."
    return warning


def _problem(data: Loaders, told: dict[str, Any], what: str) -> str | None:
    """What it has seen that it should not have."""
    if told["digest"] != data.digest:
        return f"{what} was trained on other data ({told['digest']}, here {data.digest})"
    assert data.split is not None and data.labels is not None
    seen = overlap(data.split, Split.from_json(told["split"], data.labels))
    if not seen:
        return None
    return f"{what} was trained on {seen} of the {len(data.split.validation)} images that validate the student"
