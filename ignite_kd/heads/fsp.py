"""FSP: how one stage of a network flows into the next."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, no_autocast, pool_to_smaller
from ignite_kd.heads.feature_modules import FeatureModules
from ignite_kd.heads.first_stage import FirstStage
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.representation import Batch, Representation

__all__ = ["FSP"]


class FSP(Head):
    r"""Match the flow of the solution procedure: the products of the channels of consecutive stages.

    .. math:: \mathcal{L} = \sum_i \mathop{\mathrm{mean}}_{n,a,b} \big( G^s_i - G^t_i \big)^2, \qquad
        G_i[n, a, b] = \mathop{\mathrm{mean}}_{h,w} F_i[n, a, h, w] \, F_{i+1}[n, b, h, w]

    Yim, Joo, Bae, Kim: "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer
    Learning", CVPR 2017. Of two stages the larger map is pooled to the size of the smaller: by the mean here and in
    the benchmark of Tian et al., 2020 (arXiv:1910.10699), by the maximum in the paper. Student and teacher need equal
    widths; their sizes may differ.

    The features learn from this term alone first, for 30 epochs in the benchmark, with the learning rate of the
    student and factor 1; then, as in the paper, labels teach. The benchmark's factor of 50 is asked for but
    multiplies a constant 0.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: two stages or more, in order; by default the stem and all stages that both have before pooling.
        first_stage_only: the term does nothing after the first stage, as in the benchmark; False: it then also stands
            beside the other terms, with its factor. The commands see to both; `attach` in a loop of your own adds the
            term to every step until `remove()`.
    """

    name = "fsp"
    paper = "Yim, Joo, Bae, Kim, CVPR 2017"

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        first_stage_only: bool = True,
    ) -> None:
        super().__init__()
        self.first_stage_only = first_stage_only
        self.pairs = pair_stages(student_channels, teacher_channels, stages)
        if stages is None and "stem" in student_channels and "stem" in teacher_channels:
            self.pairs.insert(0, ("stem", "stem"))
        if len(self.pairs) < 2:
            raise UserError(
                f"fsp compares how stages follow each other and needs two or more, but has only '{self.pairs[0][0]}'; "
                "give stages=first+second, or take networks that share stages."
            )
        for own, shown in self.pairs:
            if student_channels[own] != teacher_channels[shown]:
                raise UserError(
                    f"fsp needs equal widths, but the student's '{own}' has {student_channels[own]} channels and the "
                    f"teacher's '{shown}' {teacher_channels[shown]}; take networks of one width, or other stages."
                )

    def first_stage(self, student: nn.Module) -> FirstStage:
        return FirstStage(FeatureModules(student, self.name), self, replaces_main=self.first_stage_only)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for (own, shown), (next_own, next_shown) in pairwise(self.pairs):
            with torch.no_grad():
                target = _flow(teacher.stage(shown), teacher.stage(next_shown))
            terms.append((_flow(student.stage(own), student.stage(next_own)) - target).square().mean())
        return torch.stack(terms).sum()


def _flow(first: Tensor, second: Tensor) -> Tensor:
    """N × channels × channels."""
    first, second = (at_least_float32(maps).flatten(2) for maps in pool_to_smaller(first, second))
    with no_autocast(first):
        return torch.bmm(first, second.mT) / first.shape[2]
