"""Relational distillation: distances and angles between images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, no_autocast
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.heads.vectors import as_vectors, unit
from ignite_kd.representation import Batch, Representation

__all__ = ["RKD"]


class RKD(Head):
    r"""Keep the distances between the images of a batch, and the angles of its triplets, as the teacher has them.

    .. math:: \mathcal{L} = \lambda_D \mathop{\mathrm{mean}}_{i,j} \ell_1(\psi^s_{ij} - \psi^t_{ij})
        + \lambda_A \mathop{\mathrm{mean}}_{i,j,k} \ell_1(A^s_{ijk} - A^t_{ijk})

    .. math:: \psi_{ij} = \frac{\|x_i - x_j\|}{\mu}, \qquad
        A_{ijk} = \langle e_{ij}, e_{ik} \rangle, \quad e_{ij} = \frac{x_j - x_i}{\|x_j - x_i\|}

    with the Huber loss :math:`\ell_1(u) = u^2 / 2` for :math:`|u| < 1`, else :math:`|u| - 1/2`, and the mean
    :math:`\mu` of the distances of two different images. Park, Kim, Lu, Cho: "Relational Knowledge Distillation",
    CVPR 2019, arXiv:1904.05068. The paper sums over pairs and triplets of different images; here, as in its released
    code (weights 1 and 2) and in the CIFAR-100 benchmark of Tian et al., 2020 (arXiv:1910.10699; weights 25 and 50),
    the means go over all :math:`N^2` and :math:`N^3`, the zeros of the diagonals included. The benchmark applies it
    to the pooled vectors with factor 1 beside the cross-entropy. Coinciding images have distance 1e-6 and no gradient.
    Batches of one image, or of two (one distance, which is the mean), say nothing.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: which stages (their terms add up); `pooled` by default. Maps are averaged over their positions.
        distance_factor: the weight of the distances.
        angle_factor: the weight of the angles.
    """

    name = "rkd"
    paper = "Park, Kim, Lu, Cho, 2019, arXiv:1904.05068"
    couples_batch = True

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        distance_factor: float = 25.0,
        angle_factor: float = 50.0,
    ) -> None:
        super().__init__()
        for option, factor in (("distance_factor", distance_factor), ("angle_factor", angle_factor)):
            if not factor >= 0:
                raise UserError(f"{option} of rkd should be 0 or more, but {factor} was given.")
        self.distance_factor, self.angle_factor = distance_factor, angle_factor
        self.pairs = pair_stages(student_channels, teacher_channels, "pooled" if stages is None else stages)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for own, shown in self.pairs:
            distances, angles = _relations(as_vectors(student.stage(own)))
            with torch.no_grad():
                target_distances, target_angles = _relations(as_vectors(teacher.stage(shown)))
            terms.append(self.distance_factor * F.smooth_l1_loss(distances, target_distances))
            terms.append(self.angle_factor * F.smooth_l1_loss(angles, target_angles))
        return torch.stack(terms).sum()


def _relations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Distances over their mean, N × N, and cosines, N × N × N."""
    edges = x[None] - x[:, None]  # differences, not squares of the vectors: exact where two nearly coincide
    apart = 1 - torch.eye(len(x), dtype=x.dtype, device=x.device)
    distances = edges.square().sum(2).clamp_min(1e-12).sqrt() * apart
    mean = distances.sum() / max(len(x) * (len(x) - 1), 1)
    directions = unit(edges, dim=2)
    with no_autocast(x):
        return distances / mean.clamp_min(1e-12), torch.bmm(directions, directions.mT)
