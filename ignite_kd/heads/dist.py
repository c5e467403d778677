"""DIST: correlations instead of divergences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32
from ignite_kd.representation import Batch, Representation

__all__ = ["DIST"]


class DIST(Head):
    r"""Correlate the class probabilities with the teacher's: of each image over classes, of each class over images.

    .. math:: \mathcal{L} = \tau^2 \Big[ \beta \big(1 - \mathop{\mathrm{mean}}_n \rho(y^s_{n,:}, y^t_{n,:})\big)
        + \gamma \big(1 - \mathop{\mathrm{mean}}_k \rho(y^s_{:,k}, y^t_{:,k})\big) \Big], \qquad
        \rho(a, b) = \frac{\langle a - \bar a, b - \bar b \rangle}{\|a - \bar a\| \|b - \bar b\| + 10^{-8}}

    with :math:`y = \sigma(z / \tau)`. Huang, You, Wang, Qian, Xu: "Knowledge Distillation from A Stronger Teacher",
    NeurIPS 2022, arXiv:2205.10536. As in the paper; the factor :math:`\tau^2` and the :math:`10^{-8}` are those of
    the released code. It stands beside the cross-entropy with factor 2, with τ = 4 on CIFAR-100 and 1 on ImageNet. In
    a batch of one image, and between constant probabilities, a correlation counts as 0, and the lengths in it as 1.
    Because of the :math:`10^{-8}`, probabilities that hardly vary do not correlate fully even with themselves.

    Args:
        beta: the weight of the correlations of each image (inter-class).
        gamma: the weight of the correlations of each class (intra-class).
        temperature: the softening.
    """

    name = "dist"
    paper = "Huang, You, Wang, Qian, Xu, 2022, arXiv:2205.10536"
    couples_batch = True

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 4.0) -> None:
        super().__init__()
        for option, factor in (("beta", beta), ("gamma", gamma)):
            if not factor >= 0:
                raise UserError(f"{option} of dist should be 0 or more, but {factor} was given.")
        if not temperature > 0:
            raise UserError(f"the temperature of dist should be positive, but {temperature} was given (usual: 1 or 4).")
        self.beta, self.gamma, self.temperature = beta, gamma, temperature

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        found = F.softmax(at_least_float32(student.logits) / self.temperature, dim=1)
        target = F.softmax(at_least_float32(teacher.logits.detach()) / self.temperature, dim=1)
        inter, intra = (1 - _correlation(found, target, dim).mean() for dim in (1, 0))
        return self.temperature**2 * (self.beta * inter + self.gamma * intra)


def _correlation(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Pearson's, along `dim`."""
    (a, length_a, constant_a), (b, length_b, constant_b) = _centred(a, dim), _centred(b, dim)
    lengths = (length_a * length_b + 1e-8).masked_fill(constant_a | constant_b, 1)  # no slope of 1e8
    return (a * b).sum(dim) / lengths


def _centred(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Less its mean, the length of that, and whether it is no more than what is rounded of a constant."""
    centred = x - x.mean(dim, keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=dim)
    return centred, length, length <= 4 * torch.finfo(x.dtype).eps * torch.linalg.vector_norm(x.detach(), dim=dim)
