"""Correlation congruence."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, no_autocast
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.heads.vectors import as_vectors, unit
from ignite_kd.representation import Batch, Representation

__all__ = ["CC"]


class CC(Head):
    r"""Relate the images of a batch as the teacher does, by their correlations or by those of the differences.

    .. math:: \mathcal{L} = \frac{1}{N - 1} \sum_{n=1}^{N-1} \langle \delta_n, \delta_{n+1} \rangle, \qquad
        \delta_n = | E_s(s_n) - E_t(t_n) |

    with two learned linear embeddings :math:`E`, the teacher's too: that is the CIFAR-100 benchmark's form (Tian et
    al., 2020, arXiv:1910.10699), a snippet sent to it by the authors of the paper. It depends on the order in the
    batch, and embeddings that are constant make it zero. The benchmark applies it to the pooled vectors with factor
    0.02 beside the cross-entropy.

    Peng, Jin, Liu, Li, Wu, Liu, Zhou, Zhang: "Correlation Congruence for Knowledge Distillation", ICCV 2019,
    arXiv:1904.01802, compares the matrices of correlations instead; `consecutive_rows=False` takes that:

    .. math:: \mathcal{L} = \frac{1}{N^2} \sum_{i,j} (K^s_{ij} - K^t_{ij})^2, \qquad
        K_{ij} = \sum_{p=0}^{P} e^{-2\gamma} \frac{(2\gamma)^p}{p!} \langle x_i, x_j \rangle^p

    a Gaussian kernel expanded after Taylor for vectors :math:`x` of length one. The matrices are N × N whatever the
    channels, so that the vectors are compared as they are, without embeddings: nothing can collapse.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: where, one stage; `pooled` by default. Maps are averaged over their positions.
        consecutive_rows: the benchmark's form; False: the paper's.
        dimension: what the embeddings of the benchmark's form map to.
        gamma: of the paper's kernel.
        order: P, where the paper's expansion ends.
    """

    name = "cc"
    paper = "Peng, Jin, Liu, Li, Wu, Liu, Zhou, Zhang, 2019, arXiv:1904.01802"
    couples_batch = True

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        consecutive_rows: bool = True,
        dimension: int = 128,
        gamma: float = 0.4,
        order: int = 2,
    ) -> None:
        super().__init__()
        pairs = pair_stages(student_channels, teacher_channels, "pooled" if stages is None else stages)
        if len(pairs) > 1:
            raise UserError(f"cc relates one stage, but {len(pairs)} were given; choose one of them.")
        for option, value in (("dimension", dimension), ("gamma", gamma), ("order", order)):
            if not value > 0:
                raise UserError(f"{option} of cc should be positive, but {value} was given.")
        self.own, self.shown = pairs[0]
        self.gamma, self.order = gamma, order
        self.embeddings: nn.ModuleList | None = None
        if consecutive_rows:
            widths = student_channels[self.own], teacher_channels[self.shown]
            self.embeddings = nn.ModuleList(nn.Linear(width, dimension) for width in widths)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        feature, target = as_vectors(student.stage(self.own)), as_vectors(teacher.stage(self.shown)).detach()
        if self.embeddings is None:
            return (self._correlations(feature) - self._correlations(target)).square().mean()
        feature, target = (embed(x) for embed, x in zip(self.embeddings, (feature, target), strict=True))
        delta = (at_least_float32(feature) - at_least_float32(target)).abs()
        return (delta[:-1] * delta[1:]).sum() / max(len(delta) - 1, 1)

    def _correlations(self, x: Tensor) -> Tensor:
        """N × N."""
        x = unit(x)
        with no_autocast(x):
            cosines = x @ x.T
        rate = 2 * self.gamma
        terms = [math.exp(-rate) * rate**p / math.factorial(p) * cosines**p for p in range(self.order + 1)]
        return torch.stack(terms).sum(0)
