"""Information theoretic representation distillation: correlation and mutual information of the pooled vectors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, no_autocast
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.heads.vectors import as_vectors, unit
from ignite_kd.representation import Batch, Representation

__all__ = ["ITRD"]


class ITRD(Head):
    r"""Correlate each dimension of the student with the teacher's, and share the information between images.

    .. math:: \mathcal{L} = \lambda_{corr} \log_2 \sum_j |c_j - 1|^{2 \alpha}
        + \lambda_{mut} \Big( \sum_{ij} (G^s)_{ij}^2 - \sum_{ij} (G^{st})_{ij}^2 \Big)

    .. math:: c_j = \frac{1}{N} \sum_n \hat u_{nj} \hat t_{nj}, \qquad G^s = \frac{\bar u \bar u^\top}{\mathrm{tr}},
        \quad G^{st} = \frac{\bar u \bar u^\top \circ \bar t \bar t^\top}{\mathrm{tr}}

    with the linear map :math:`u` of the student's vector, standardised over the batch as :math:`\hat u` and of length
    one as :math:`\bar u`. Miles, Lopez-Rodriguez, Mikolajczyk: "Information Theoretic Representation Distillation",
    BMVC 2022, arXiv:2112.00459. As in the released code the mutual information stands without the logarithm, and the
    deviations divide by N - 1 but the correlations by N: a perfect student is left with
    :math:`\log_2 (d \, N^{-2\alpha})`, which depends on the size of the batch. Where the widths agree the second term
    takes the student's vector itself. A dimension that is constant over the batch, with which the released code
    divides by zero, counts as uncorrelated. Attached to the pooled vectors with factor 1 beside the cross-entropy.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: one stage of each; `pooled` by default. Maps are averaged over their positions.
        lambda_corr: the weight of the correlations.
        lambda_mutual: the weight of the mutual information; the script's default, where the read-me's command for
            wrn_40_2 → wrn_16_2 has 1.0.
        alpha_it: Rényi's order α; the script's default, where the read-me's command has 1.01.
    """

    name = "itrd"
    paper = "Miles, Lopez-Rodriguez, Mikolajczyk, 2022, arXiv:2112.00459"
    couples_batch = True

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        lambda_corr: float = 2.0,
        lambda_mutual: float = 0.05,
        alpha_it: float = 1.5,
    ) -> None:
        super().__init__()
        for option, value in (("lambda_corr", lambda_corr), ("lambda_mutual", lambda_mutual)):
            if not value >= 0:
                raise UserError(f"{option} of itrd should be 0 or more, but {value} was given.")
        if not alpha_it > 0.5:  # below, the gradient is infinite where a correlation is perfect
            raise UserError(f"alpha_it of itrd should be above 0.5, but {alpha_it} was given (usual: 1.01 or 1.5).")
        self.lambda_corr, self.lambda_mutual, self.alpha = lambda_corr, lambda_mutual, alpha_it
        pairs = pair_stages(student_channels, teacher_channels, "pooled" if stages is None else stages)
        if len(pairs) > 1:
            raise UserError(f"itrd compares one stage, but {len(pairs)} were given; choose one of them.")
        self.own, self.shown = pairs[0]
        self.embed = nn.Linear(student_channels[self.own], teacher_channels[self.shown])

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        vector, target = as_vectors(student.stage(self.own)), as_vectors(teacher.stage(self.shown)).detach()
        embedded = as_vectors(self.embed(vector))
        mapped = embedded if vector.shape[1] != target.shape[1] else vector
        with no_autocast(target):
            correlation, mutual = _correlation(embedded, target, self.alpha), _mutual(mapped, target)
        return self.lambda_corr * correlation + self.lambda_mutual * mutual


def _correlation(student: Tensor, teacher: Tensor, alpha: float) -> Tensor:
    correlations = (_standardised(student) * _standardised(teacher)).mean(0)
    return (correlations - 1).abs().pow(2 * alpha).sum().log2()


def _standardised(x: Tensor) -> Tensor:
    """Each dimension with mean 0 and, over N - 1, deviation 1 over the batch; 0 where it is constant."""
    centred = x - x.mean(0)
    variance = centred.square().sum(0) / max(len(x) - 1, 1)
    # relative to the values: what rounding leaves of a constant is no variance
    constant = variance <= (torch.finfo(x.dtype).eps * x.detach().abs().amax(0)).square()
    return centred * variance.masked_fill(constant, torch.inf).rsqrt()


def _mutual(student: Tensor, teacher: Tensor) -> Tensor:
    own = _gram(student)
    return _trace_one(own).square().sum() - _trace_one(own * _gram(teacher)).square().sum()


def _gram(x: Tensor) -> Tensor:
    x = unit(x)
    return x @ x.T


def _trace_one(matrix: Tensor) -> Tensor:
    return matrix / matrix.trace().clamp_min(torch.finfo(matrix.dtype).tiny)
