"""Probabilistic knowledge transfer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ignite_kd.heads.base import Head, no_autocast
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.heads.vectors import as_vectors
from ignite_kd.representation import Batch, Representation

__all__ = ["PKT"]

_EPSILON = 1e-7


class PKT(Head):
    r"""Match the probabilities with which the images of a batch choose each other as neighbours.

    .. math:: \mathcal{L} = \mathop{\mathrm{mean}}_{i,j} P^t_{ij} \ln \frac{P^t_{ij} + \epsilon}{P^s_{ij} + \epsilon},
        \qquad P_{ij} = \frac{C_{ij}}{\sum_k C_{ik}}, \quad C_{ij} = \frac{1 + \cos(x_i, x_j)}{2}

    Passalis, Tefas: "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018,
    arXiv:1803.10837. The paper writes the sum of the divergences and leaves out :math:`i = j`; here, as in the
    authors' code and in the CIFAR-100 benchmark of Tian et al., 2020 (arXiv:1910.10699), it is the mean over all
    :math:`N^2`, with :math:`\epsilon = 10^{-7}`, also added to the lengths. The benchmark applies it to the pooled
    vectors with factor 30000 beside the cross-entropy, for a mean of :math:`N^2` is small. One image says nothing.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: which stages (their terms add up); `pooled` by default. Maps are averaged over their positions.
    """

    name = "pkt"
    paper = "Passalis, Tefas, 2018, arXiv:1803.10837"
    couples_batch = True

    def __init__(
        self, student_channels: Mapping[str, int], teacher_channels: Mapping[str, int], stages: Stages = None
    ) -> None:
        super().__init__()
        self.pairs = pair_stages(student_channels, teacher_channels, "pooled" if stages is None else stages)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for own, shown in self.pairs:
            found = _probabilities(as_vectors(student.stage(own)))
            with torch.no_grad():
                target = _probabilities(as_vectors(teacher.stage(shown)))
            terms.append((target * ((target + _EPSILON) / (found + _EPSILON)).log()).mean())
        return torch.stack(terms).sum()


def _probabilities(x: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    x = x / (length + _EPSILON).masked_fill(length == 0, 1)  # a dead vector: 0, with a slope of 1, not 1e7
    with no_autocast(x):
        cosines = ((x @ x.T + 1) / 2).clamp_min(0)  # rounding may bring a cosine below -1
    return cosines / cosines.sum(1, keepdim=True)
