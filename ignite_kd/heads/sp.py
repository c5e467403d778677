"""Similarity-preserving distillation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ignite_kd.heads.base import Head, at_least_float32, no_autocast
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.heads.vectors import unit
from ignite_kd.representation import Batch, Representation

__all__ = ["SP"]


class SP(Head):
    r"""Find those images of a batch similar that the teacher finds similar.

    .. math:: \mathcal{L} = \frac{1}{N^2} \sum_{i,j} \big( \hat G^s_{ij} - \hat G^t_{ij} \big)^2, \qquad
        \hat G_i = \frac{G_i}{\|G_i\|_2}, \quad G = Q Q^\top

    where :math:`Q` has one flattened map in each row. Tung, Mori: "Similarity-Preserving Knowledge Distillation",
    ICCV 2019, arXiv:1907.09682. As in the paper; sizes and channels of the two networks may differ. In the CIFAR-100
    benchmark of Tian et al., 2020 (arXiv:1910.10699) it acts on the last stage before pooling, with factor 3000
    beside the cross-entropy. A batch of one image says nothing.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: which stages, of both or student's → teacher's (their terms add up); by default the last before
            pooling.
    """

    name = "sp"
    paper = "Tung, Mori, 2019, arXiv:1907.09682"
    couples_batch = True

    def __init__(
        self, student_channels: Mapping[str, int], teacher_channels: Mapping[str, int], stages: Stages = None
    ) -> None:
        super().__init__()
        self.pairs = pair_stages(student_channels, teacher_channels, stages, default="last")

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for own, shown in self.pairs:
            with torch.no_grad():
                target = _similarities(teacher.stage(shown))
            terms.append((_similarities(student.stage(own)) - target).square().mean())
        return torch.stack(terms).sum()


def _similarities(maps: Tensor) -> Tensor:
    """N × N, rows of length one."""
    rows = at_least_float32(maps).flatten(1)
    with no_autocast(rows):
        return unit(rows @ rows.T)
