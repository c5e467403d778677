"""FitNet: hints of a teacher's intermediate stage."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ignite_kd.heads.base import Head, at_least_float32, pool_to_smaller
from ignite_kd.heads.regressor import Regressor, map_size
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.representation import Batch, Representation

__all__ = ["FitNet"]


class FitNet(Head):
    r"""Regress an intermediate map of the teacher, the hint, from the student's map of the same depth.

    .. math:: \mathcal{L} = \mathop{\mathrm{mean}}_{n,c,h,w}
        \big( \mathrm{ReLU}(\mathrm{BN}(\mathrm{conv}(s))) - t \big)^2

    Romero, Ballas, Kahou, Chassang, Gatta, Bengio: "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550.
    The paper trains the student up to the hint's layer first, with half the squared norm, and goes on with the
    softened classes. Here, as in the CIFAR-100 benchmark of Tian et al., 2020 (arXiv:1910.10699), the term stands
    beside the cross-entropy from the first step, with factor 100 and on the second stage of both. `Regressor` says
    which convolution two sizes take. It ends with ReLU there, so that what is negative in a hint (the raw sums of a
    wide residual network, the linear bottlenecks of MobileNetV2) cannot be met.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        student_strides: the student's `strides`; a stage without one is a vector.
        teacher_strides: the teacher's `strides`.
        stages: where: one stage, several (their terms add up) or student's → teacher's; the second stage by default.
        image_size: the height of the images, from which the maps' sizes follow.
    """

    name = "fitnet"
    paper = "Romero, Ballas, Kahou, Chassang, Gatta, Bengio, 2015, arXiv:1412.6550"
    couples_batch = only_norms_couple = True  # by the batch norm of the regressor

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        student_strides: Mapping[str, int],
        teacher_strides: Mapping[str, int],
        stages: Stages = None,
        image_size: int = 32,
    ) -> None:
        super().__init__()
        self.pairs = pair_stages(student_channels, teacher_channels, stages, default="second")
        self.regressors = nn.ModuleList(
            Regressor(
                student_channels[own],
                teacher_channels[shown],
                map_size(student_strides, own, image_size),
                map_size(teacher_strides, shown, image_size),
            )
            for own, shown in self.pairs
        )

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for (own, shown), regressor in zip(self.pairs, self.regressors, strict=True):
            found, hint = pool_to_smaller(regressor(student.stage(own)), teacher.stage(shown).detach())
            terms.append((at_least_float32(found) - at_least_float32(hint)).square().mean())
        return torch.stack(terms).sum()
