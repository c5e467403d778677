"""Vectors out of maps, and of length one: what the heads share that compare directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import at_least_float32
from ignite_kd.heads.stages import strides_of

__all__ = ["as_vectors", "refuse_vectors", "unit"]


def unit(x: Tensor, dim: int = 1) -> Tensor:
    """`x` over its length along `dim`; 0, without a gradient, where the length is below 1e-12.

    A division by the length clamped from below has a gradient of up to 1e12 there, which would end the training.
    """
    length = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / length.masked_fill(length < 1e-12, torch.inf)


def as_vectors(x: Tensor) -> Tensor:
    """N × channels in float32 or better; maps are averaged over their positions."""
    return at_least_float32(x).flatten(2).mean(2) if x.dim() > 2 else at_least_float32(x)


def refuse_vectors(
    method: str, pairs: Sequence[tuple[str, str]], student: nn.Module | None = None, teacher: nn.Module | None = None
) -> None:
    """Ends in a UserError where a stage is known to be a vector: `pooled`, and what has no stride where others have."""
    for own, shown in pairs:
        for who, stage, model in (("student", own, student), ("teacher", shown, teacher)):
            declared = isinstance(getattr(model, "strides", None), Mapping)
            if stage in ("pooled", "logits") or (declared and stage not in strides_of(model)):
                raise UserError(
                    f"{method} compares the positions of maps, but the {who}'s '{stage}' is a vector; "
                    "name stages that are maps, or take a method that needs none (kd, rkd, sp)."
                )
