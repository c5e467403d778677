"""How much of what a teacher says a network says too."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """With a teacher, on the same images.

    Args:
        same: share of the images on which both name the same class.
        wrong: share of the images on which the teacher is wrong.
        same_where_wrong: the share of these on which the network names the very class that the teacher names; NaN
            where it is never wrong.
        divergence: the mean of KL(teacher ‖ network) of the class probabilities, in nats, at temperature 1.
        correlation: of the logits. Each image's have their mean over the classes taken off before: a softmax does not
            see it.
    """

    same: float
    wrong: float
    same_where_wrong: float
    divergence: float
    correlation: float


def agreement(logits: Tensor, teacher: Tensor, labels: Tensor) -> Agreement:
    """Compare two networks' logits (N × classes) of the same images."""
    own, shown = logits.double(), teacher.double()
    same = own.argmax(1) == shown.argmax(1)
    wrong = shown.argmax(1) != labels
    log_q, log_p = own.log_softmax(1), shown.log_softmax(1)
    own, shown = (z - z.mean(1, keepdim=True) for z in (own, shown))
    return Agreement(
        same.double().mean().item(),
        wrong.double().mean().item(),
        same[wrong].double().mean().item(),
        (log_p.exp() * (log_p - log_q)).sum(1).mean().item(),
        ((own * shown).sum() / (own.square().sum() * shown.square().sum()).sqrt()).item(),
    )
