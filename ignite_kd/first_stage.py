"""What a method trains before the student proper learns: a short run of its own, on the same engines."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ignite_kd.heads.base import Head

__all__ = ["FirstStage"]


@dataclass(frozen=True)
class FirstStage:
    """A first stage, as a head describes it.

    Args:
        learner: is trained, under the same teacher, and takes the student's place: `learner.represent(images)` is what
            `term` sees. The optimizer gets its parameters that ask for a gradient, and those of `term`.
        term: the only loss, with factor 1.
        learning_rate: `student`: the student's; or a number.
        replaces_main: the method's own term does nothing afterwards: the student goes on with the other terms alone,
            as in the released benchmark.
    """

    learner: nn.Module
    term: Head
    learning_rate: float | None = None
    replaces_main: bool = False
