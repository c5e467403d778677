"""Variational information distillation of features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, pool_to_smaller
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.representation import Batch, Representation

__all__ = ["VID"]


class VID(Head):
    r"""Maximise a variational bound of the mutual information between the layers of teacher and student.

    A Gaussian whose mean is regressed from the student's feature, with one learned variance per teacher channel,
    explains the teacher's feature; up to a constant its negative log-likelihood is

    .. math:: \mathcal{L} = \sum_{l} \mathop{\mathrm{mean}}_{n,c,h,w}
        \frac{1}{2} \left[ \frac{(\mu_l(s_l) - t_l)^2}{\sigma_{l,c}^2} + \ln \sigma_{l,c}^2 \right],
        \qquad \sigma^2 = \ln(1 + e^{\rho}) + \epsilon

    Ahn, Hu, Damianou, Lawrence, Dai: "Variational Information Distillation for Knowledge Transfer", CVPR 2019,
    arXiv:1904.05835.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: which stages, of both (`"layer3"`, or a list), or student's → teacher's as a mapping. By default
            the stages that both have by name between stem and pooling, else the pooled vectors (a CNN and an MLP).
        variant: `paper`, two linear 1 × 1 convolutions and ε = 0, as in the released code; or `benchmark`, three with
            ReLU between and ε = 1e-5, as in the CIFAR-100 benchmark of Tian et al. (arXiv:1910.10699).
        initial_variance: what σ² starts at.
        softplus_twice: the released code maps the initial variance through softplus where its inverse was meant, so
            that σ² starts at 5.0134 instead of 5. True reproduces that.
    """

    name = "vid"
    paper = "Ahn, Hu, Damianou, Lawrence, Dai, 2019, arXiv:1904.05835"

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        variant: str = "paper",
        initial_variance: float = 5.0,
        softplus_twice: bool = False,
    ) -> None:
        super().__init__()
        if variant not in ("paper", "benchmark"):
            raise UserError(f"the variant of vid should be paper or benchmark, but '{variant}' was given.")
        if not initial_variance > 1e-4:
            raise UserError(f"initial_variance of vid should be above 0.0001, but {initial_variance} was given.")
        self.pairs = pair_stages(student_channels, teacher_channels, stages)
        self.epsilon = 0.0 if variant == "paper" else 1e-5
        wanted = initial_variance - self.epsilon
        rho = math.log1p(math.exp(wanted)) if softplus_twice else wanted + math.log(-math.expm1(-wanted))
        channels = [(student_channels[s], teacher_channels[t]) for s, t in self.pairs]
        self.branches = nn.ModuleList(_branch(*c, rectified=variant == "benchmark") for c in channels)
        self.variances = nn.ParameterList(nn.Parameter(torch.full((c, 1, 1), rho)) for _, c in channels)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for (own, shown), branch, rho in zip(self.pairs, self.branches, self.variances, strict=True):
            feature, target = pool_to_smaller(student.stage(own), teacher.stage(shown).detach())
            error = at_least_float32(branch(feature)) - at_least_float32(target)
            variance = F.softplus(rho) + self.epsilon
            terms.append((error.square() / variance + variance.log()).mean() / 2)
        return torch.stack(terms).sum()

    def released_layout(self, model_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's file as the released code writes and reads it: variances, network, branches."""
        variances = {f"variance_param{i}": rho.detach() for i, rho in enumerate(self.variances, 1)}
        branches = {
            f"branch{i}.{key}": value.detach()
            for i, branch in enumerate(self.branches, 1)
            for key, value in branch.state_dict().items()
        }
        return variances | dict(model_state) | branches


class _Linear(nn.Sequential):
    """Two convolutions of 1 × 1 with nothing between them, done as one: weights are few, maps are large."""

    def forward(self, feature: Tensor) -> Tensor:
        first, second = (cast(nn.Conv2d, conv).weight.flatten(1) for conv in self)
        return F.conv2d(feature, (second @ first)[:, :, None, None])


def _branch(inputs: int, outputs: int, rectified: bool) -> nn.Sequential:
    def conv(width: int) -> nn.Conv2d:
        return nn.Conv2d(width, outputs, kernel_size=1, bias=False)

    if rectified:
        return nn.Sequential(conv(inputs), nn.ReLU(), conv(outputs), nn.ReLU(), conv(outputs))
    return _Linear(conv(inputs), conv(outputs))
