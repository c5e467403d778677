"""Which classes a network knows."""

from __future__ import annotations

from torch import Tensor

__all__ = ["accuracy_by_class"]


def accuracy_by_class(logits: Tensor, labels: Tensor) -> list[float]:
    """The share of each class's images that are recognised; NaN where there is no image of it."""
    classes = logits.shape[1]
    right = (logits.argmax(1) == labels).double()
    return (labels.bincount(right, minlength=classes) / labels.bincount(minlength=classes)).tolist()
