"""Activation boundaries: on which side of zero a neuron is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, pool_to_smaller
from ignite_kd.heads.before import before_rectification
from ignite_kd.heads.feature_modules import FeatureModules
from ignite_kd.heads.first_stage import FirstStage
from ignite_kd.heads.regressor import Regressor, map_size
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.representation import Batch, Representation

__all__ = ["AB"]


class AB(Head):
    r"""Put every neuron of the student on the side of zero where the teacher's is, with a margin.

    .. math:: \mathcal{L} = \frac{3}{1000} \frac{1}{N} \sum_{i=1}^{m} 2^{i-m} \sum_{n,c,h,w}
        \max\big(0,\ \mu - \mathrm{sign}(t_i)\, r_i(s_i)\big)^2, \qquad \mathrm{sign}(0) = -1

    of the stages before their rectification. Heo, Lee, Yun, Choi: "Knowledge Transfer via Distillation of Activation
    Boundaries Formed by Hidden Neurons", AAAI 2019, arXiv:1811.03233. :math:`r_i` is the identity where width and
    size agree, else a `Regressor` without ReLU, as in the benchmark of Tian et al., 2020 (arXiv:1910.10699); the
    authors' code takes 1 × 1 convolutions without bias, at all stages as soon as widths differ.

    The features learn from this term alone first: 30 epochs in the benchmark, with the learning rate of the student
    and factor 1. The paper goes on with the softened classes alone, the benchmark with labels alone: its factor of 1
    is asked for but multiplies a constant 0.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        student_strides: the student's `strides`; a stage without one is a vector.
        teacher_strides: the teacher's `strides`.
        stages: which stages; all that both have between stem and pooling by default. The last one weighs most.
        margin: how far from zero, on the teacher's side, a neuron should be: :math:`\mu`.
        first_stage_only: the term does nothing after the first stage, as in the benchmark; False: it then also stands
            beside the other terms, with its factor. The commands see to both; `attach` in a loop of your own adds the
            term to every step until `remove()`.
        image_size: the height of the images, from which the maps' sizes follow.
    """

    name = "ab"
    paper = "Heo, Lee, Yun, Choi, 2019, arXiv:1811.03233"
    couples_batch = only_norms_couple = True  # by the batch norms of the connectors

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        student_strides: Mapping[str, int],
        teacher_strides: Mapping[str, int],
        stages: Stages = None,
        margin: float = 1.0,
        first_stage_only: bool = True,
        image_size: int = 32,
    ) -> None:
        super().__init__()
        if not margin >= 0:
            raise UserError(f"the margin of ab should be zero or more, but {margin} was given (usual: 1).")
        self.margin, self.first_stage_only = margin, first_stage_only
        self.pairs = pair_stages(student_channels, teacher_channels, stages)
        self.connectors = nn.ModuleList()
        for own, shown in self.pairs:
            widths = student_channels[own], teacher_channels[shown]
            sizes = map_size(student_strides, own, image_size), map_size(teacher_strides, shown, image_size)
            same = widths[0] == widths[1] and sizes[0] == sizes[1]
            self.connectors.append(nn.Identity() if same else Regressor(*widths, *sizes, rectified=False))

    def first_stage(self, student: nn.Module) -> FirstStage:
        return FirstStage(FeatureModules(student, self.name), self, replaces_main=self.first_stage_only)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for i, ((own, shown), connector) in enumerate(zip(self.pairs, self.connectors, strict=True), 1):
            target = before_rectification(teacher, shown, "teacher", self.name).detach()
            feature = connector(before_rectification(student, own, "student", self.name))
            feature, target = pool_to_smaller(feature, target)
            feature = at_least_float32(feature)
            missing = F.relu(self.margin - torch.where(target > 0, feature, -feature))
            terms.append(2.0 ** (i - len(self.pairs)) * missing.square().sum() / len(missing))
        return 3e-3 * torch.stack(terms).sum()
