"""Decoupled knowledge distillation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32
from ignite_kd.representation import Batch, Representation

__all__ = ["DKD"]


class DKD(Head):
    r"""Match how sure the teacher is of the true class, and apart from that how it sees the other classes.

    .. math:: \mathcal{L} = \frac{\tau^2}{N} \sum_n \Big[ \alpha \, \mathrm{KL}(b^t_n \| b^s_n)
        + \beta \, \mathrm{KL}(\tilde q^t_n \| \tilde q^s_n) \Big], \qquad
        b = (q_y, 1 - q_y), \quad q = \sigma(z / \tau)

    where :math:`\tilde q` is the softmax over the classes other than the true class y. Zhao, Cui, Song, Qiu, Liang:
    "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679. The released code excludes the true class by
    taking 1000 from its logit and takes the logarithm of 1 − q directly; here it is left out, and logarithms come
    from log-softmax, which is the same number and finite at any logits. It stands beside the cross-entropy with
    factor 1, reached over 20 epochs; its β on the CIFAR-100 benchmark is 2, 6 or 8 by pair of networks.

    Args:
        alpha: the weight of the true class against all others (TCKD).
        beta: the weight of the other classes among each other (NCKD).
        temperature: the softening.
    """

    name = "dkd"
    paper = "Zhao, Cui, Song, Qiu, Liang, 2022, arXiv:2203.08679"

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> None:
        super().__init__()
        for option, factor in (("alpha", alpha), ("beta", beta)):
            if not factor >= 0:
                raise UserError(f"{option} of dkd should be 0 or more, but {factor} was given.")
        if not temperature > 0:
            raise UserError(f"the temperature of dkd should be positive, but {temperature} was given (usual: 1 to 4).")
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        labels = batch.labels[:, None]
        binary_s, others_s = _decoupled(at_least_float32(student.logits) / self.temperature, labels)
        with torch.no_grad():
            binary_t, others_t = _decoupled(at_least_float32(teacher.logits) / self.temperature, labels)
        target_class = F.kl_div(binary_s, binary_t, log_target=True, reduction="batchmean")
        other_classes = F.kl_div(others_s, others_t, log_target=True, reduction="batchmean")
        return self.temperature**2 * (self.alpha * target_class + self.beta * other_classes)


def _decoupled(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms: of true class and rest, N × 2; among the rest, N × (classes − 1)."""
    rest = torch.arange(z.shape[1] - 1, device=z.device)[None]
    others = z.gather(1, rest + (rest >= labels))
    both = torch.cat([z.gather(1, labels), others.logsumexp(1, keepdim=True)], 1)
    return F.log_softmax(both, dim=1), F.log_softmax(others, dim=1)
