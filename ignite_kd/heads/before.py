"""Stages before their rectification, for the methods that read them there."""

from __future__ import annotations

from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.regressor import as_map
from ignite_kd.representation import Representation

__all__ = ["before_rectification"]


def before_rectification(seen: Representation, stage: str, who: str, method: str) -> Tensor:
    """The stage's map before its rectification; vectors as maps of one pixel."""
    if stage in ("pooled", "logits") or stage in seen.before_relu:
        return as_map(seen.before(stage))
    raise UserError(
        f"{method} reads stages before their rectification, but the {who} gives '{stage}' only after it "
        f"(before it: {', '.join(seen.before_relu) or 'none'}); choose other stages, or a model with before_relu."
    )
