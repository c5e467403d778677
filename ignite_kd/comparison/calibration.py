"""Whether a network is right as often as it believes."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

__all__ = ["Calibration", "calibration"]


@dataclass(frozen=True)
class Calibration:
    """What a network believes, and how often it is right.

    Args:
        error: the expected calibration error, the mean distance of confidence and accuracy over the bins, weighted by
            their images (Guo et al., ICML 2017, arXiv:1706.04599).
        nll: the mean negative log-likelihood of the right class, in nats.
        counts: images whose highest probability lies in (b / bins, (b + 1) / bins].
        confidence, accuracy: means over the images of a bin; NaN where it has none.
    """

    error: float
    nll: float
    counts: list[int]
    confidence: list[float]
    accuracy: list[float]


def calibration(logits: Tensor, labels: Tensor, bins: int = 15) -> Calibration:
    """Of the logits (N × classes) that a network gives, in bins of equal width."""
    logits = logits.double()
    confidence, predicted = logits.softmax(1).max(1)
    right = (predicted == labels).double()
    place = ((confidence.nan_to_num() * bins).ceil().long() - 1).clamp(0, bins - 1)
    counts = place.bincount(minlength=bins)
    believed, true = (place.bincount(values, minlength=bins) for values in (confidence, right))
    return Calibration(
        ((believed - true).abs().sum() / len(labels)).item(),
        F.cross_entropy(logits, labels).item(),
        counts.tolist(),
        (believed / counts).tolist(),
        (true / counts).tolist(),
    )
