"""What a head may want to be trained before the student proper learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from ignite_kd.heads.base import Head

__all__ = ["FirstStage"]


@dataclass(frozen=True)
class FirstStage:
    """A first stage, as a head describes it.

    Args:
        learner: is trained, under the same teacher, and takes the student's place: `learner.represent(images)` is what
            `term` sees. The optimizer gets its parameters that ask for a gradient, and those of `term`.
        term: the only loss, with factor 1.
        learning_rate: constant; None: what the student starts with.
        replaces_main: the method's own term does nothing afterwards: the student goes on with the other terms alone,
            as in the released benchmark.
        frozen_otherwise: the learner's parameters ask for a gradient in this stage alone.
    """

    learner: nn.Module
    term: Head
    learning_rate: float | None = None
    replaces_main: bool = False
    frozen_otherwise: bool = False
