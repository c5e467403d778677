"""OFD, the overhaul of feature distillation: margins below zero, a partial distance."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, pool_to_smaller
from ignite_kd.heads.before import before_rectification
from ignite_kd.heads.regressor import BatchNorm
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.representation import Batch, Representation

__all__ = ["OFD"]


class OFD(Head):
    r"""Match the teacher before its rectification; where both are negative enough, how negative does not matter.

    .. math:: \mathcal{L} = \frac{10^{-3}}{N} \sum_{i=1}^{m} 2^{i-m} \sum_{n,c,h,w}
        \big( r_i(s_i) - t'_i \big)^2 \, [\, r_i(s_i) > t'_i \ \text{or}\ t'_i > 0 \,],
        \qquad t'_i = \max(t_i, m_{i,c})

    The margin :math:`m_{i,c} = \mathrm{E}[x \mid x < 0]` is the mean negative value of a channel that is normal with
    the scale :math:`|\gamma|` and the shift :math:`\beta` of the teacher's last batch norm before the rectification,
    and :math:`-3|\gamma|` where less than a thousandth of it is negative. For :math:`\gamma = 0`, where the authors'
    code divides by zero, it is the limit :math:`\min(\beta, 0)`.
    Heo, Kim, Yun, Park, Kwak, Choi: "A Comprehensive Overhaul of Feature Distillation", ICCV 2019, arXiv:1904.01866.

    Attached to all stages with factor 1: the authors' 1/1000 for CIFAR stands in the formula (ImageNet: factor 0.1).
    They assume equal sizes; a larger map is pooled here, as in mdistiller. Their teacher's batch norms use the
    statistics of the batch, which is the teacher's affair: `TeacherEngine(batch_statistics=True)`. After a residual
    sum the margin knows the branch's batch norm only, there as here.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        teacher_norms: stage → (scale, shift) of the teacher's batch norm before that stage's rectification.
        stages: which stages; all that both have between stem and pooling by default. The last one weighs most.
    """

    name = "ofd"
    paper = "Heo, Kim, Yun, Park, Kwak, Choi, 2019, arXiv:1904.01866"
    couples_batch = only_norms_couple = True  # by the batch norms of the connectors

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        teacher_norms: Mapping[str, tuple[Tensor, Tensor]],
        stages: Stages = None,
    ) -> None:
        super().__init__()
        self.pairs = pair_stages(student_channels, teacher_channels, stages)
        self.connectors = nn.ModuleList()
        for i, (own, shown) in enumerate(self.pairs):
            if shown not in teacher_norms or len(teacher_norms[shown][0]) != teacher_channels[shown]:
                raise UserError(
                    "ofd takes its margins from the teacher's batch norms, but the teacher declares none of the right "
                    f"width before the rectification of '{shown}' (it does of: {', '.join(teacher_norms) or 'none'}); "
                    "choose stages out of these, or another teacher."
                )
            width = teacher_channels[shown]
            conv = nn.Conv2d(student_channels[own], width, 1, bias=False)
            nn.init.normal_(conv.weight, std=math.sqrt(2 / width))
            self.connectors.append(nn.Sequential(conv, BatchNorm(width)))
            self.register_buffer(f"margin{i}", _margin(*teacher_norms[shown]))

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for i, ((own, shown), connector) in enumerate(zip(self.pairs, self.connectors, strict=True)):
            feature, target = pool_to_smaller(
                before_rectification(student, own, "student", self.name),
                before_rectification(teacher, shown, "teacher", self.name).detach(),
            )
            feature, target = at_least_float32(connector(feature)), at_least_float32(target)
            target = torch.maximum(target, self.get_buffer(f"margin{i}"))
            error = torch.where((feature > target) | (target > 0), feature - target, 0)
            terms.append(2.0 ** (i + 1 - len(self.pairs)) * error.square().sum() / len(error))
        return 1e-3 * torch.stack(terms).sum()


def _margin(scale: Tensor, shift: Tensor) -> Tensor:
    """E[x | x < 0] of a normal x, in double precision; channels × 1 × 1."""
    deviation, mean = (x.detach().cpu().double() for x in (scale.abs(), shift))
    z = mean / deviation.clamp_min(torch.finfo(torch.float64).tiny)
    negative = torch.special.log_ndtr(-z)  # the logarithm of the probability, which itself can be too small
    density = (-z.square() - math.log(2 * math.pi)) / 2
    margin = torch.where(negative > math.log(1e-3), mean - deviation * (density - negative).exp(), -3 * deviation)
    return at_least_float32(margin.to(scale))[:, None, None]
