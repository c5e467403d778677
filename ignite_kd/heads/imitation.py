"""Imitation: give out what one layer of the teacher gives out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, pool_to_smaller
from ignite_kd.heads.before import before_rectification
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.representation import Batch, Representation

__all__ = ["Imitation"]


class Imitation(Head):
    r"""The mean squared error to the teacher's layer before its rectification, number by number.

    .. math:: \mathcal{L} = \mathop{\mathrm{mean}}_{n,c,h,w} \big( s - \alpha\, t \big)^2

    Cheng, Rao, Chen, Zhang: "Explaining Knowledge Distillation by Quantifying the Knowledge", CVPR 2020,
    arXiv:2003.03622. The student learns from this alone, without a label; layers above the stage stay as they are, and
    learn afterwards from labels alone: the command `distillation` does both. Nothing is projected, so that both stages
    must have one width.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: which layer, e.g. `fc1`; the last stage of both by default. The terms of several add up.
        alpha: the teacher's values are multiplied by this; 1 as published.
    """

    name = "imitation"
    paper = "Cheng, Rao, Chen, Zhang, 2020, arXiv:2003.03622"

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        alpha: float = 1.0,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.pairs = pair_stages(student_channels, teacher_channels, stages, default="last")
        for own, shown in self.pairs:
            if student_channels[own] != teacher_channels[shown]:
                raise UserError(
                    f"imitation needs equal widths, but the student's '{own}' has {student_channels[own]} channels and "
                    f"the teacher's '{shown}' {teacher_channels[shown]}; fitnet puts a projection between them."
                )

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for own, shown in self.pairs:
            target = before_rectification(teacher, shown, "teacher", self.name).detach()
            found, target = pool_to_smaller(before_rectification(student, own, "student", self.name), target)
            terms.append((at_least_float32(found) - self.alpha * at_least_float32(target)).square().mean())
        return torch.stack(terms).sum()
