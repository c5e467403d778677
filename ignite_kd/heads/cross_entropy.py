"""Learning from labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ignite_kd.heads.base import Head, at_least_float32
from ignite_kd.representation import Batch, Representation

__all__ = ["CrossEntropy"]


class CrossEntropy(Head):
    r"""The cross-entropy between the student's class probabilities and the labels; needs no teacher.

    .. math:: \mathcal{L} = -\frac{1}{N} \sum_n \ln \sigma(z_n)_{y_n}
    """

    name = "ce"
    needs_teacher = False

    def forward(self, student: Representation, teacher: Representation | None, batch: Batch) -> Tensor:
        return F.cross_entropy(at_least_float32(student.logits), batch.labels)
