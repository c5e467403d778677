"""Knowledge distillation of standardised logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32
from ignite_kd.representation import Batch, Representation

__all__ = ["LogitStandardization"]


class LogitStandardization(Head):
    r"""Match the teacher's softened class probabilities after both logit vectors are brought to mean 0 and deviation 1.

    .. math:: \mathcal{L} = \frac{\tau^2}{N} \sum_n
        \mathrm{KL}\big(\sigma(Z(z^t_n) / \tau) \| \sigma(Z(z^s_n) / \tau)\big), \qquad
        Z(z) = \frac{z - \bar z}{\mathrm{std}(z) + 10^{-7}}

    Sun, Ren, Li, Wang, Cao: "Logit Standardization in Knowledge Distillation", CVPR 2024, arXiv:2403.01427. Mean and
    deviation go over the classes of one image. The paper divides by the deviation of the population, K in the
    denominator; here, as in the released code (sunshangquan/logit-standardization-KD, mdistiller/distillers/KD.py),
    it is that of a sample, K − 1, with :math:`10^{-7}` added. Constant logits count as of deviation 1. That code has
    base temperature 2 and factor 9, times :math:`\tau^2`, beside 0.1 for the cross-entropy on CIFAR-100, 1 on ImageNet
    (its configurations, and its read-me's `--base-temp 2 --kd-weight 9`).

    Args:
        temperature: the softening of the standardised logits, the base temperature.
    """

    name = "logit-standardization"
    paper = "Sun, Ren, Li, Wang, Cao, 2024, arXiv:2403.01427"

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise UserError(
                f"the temperature of logit-standardization should be positive, but {temperature} was given "
                "(usual: 2 or 3)."
            )
        self.temperature = temperature

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        log_q = F.log_softmax(_standardised(student.logits) / self.temperature, dim=1)
        log_p = F.log_softmax(_standardised(teacher.logits.detach()) / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")


def _standardised(logits: Tensor) -> Tensor:
    logits = at_least_float32(logits)
    deviation, mean = torch.std_mean(logits, dim=1, keepdim=True)
    # constant logits: 0, with a slope of 1, not 1e7
    return (logits - mean) / (deviation + 1e-7).masked_fill(deviation == 0, 1)
