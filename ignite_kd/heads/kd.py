"""Knowledge distillation of class probabilities."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32
from ignite_kd.representation import Batch, Representation

__all__ = ["KD"]


class KD(Head):
    r"""Match the class probabilities of the teacher, softened by a temperature.

    .. math:: \mathcal{L} = \frac{\tau^2}{N} \sum_n \mathrm{KL}\big(\sigma(z^t_n / \tau) \| \sigma(z^s_n / \tau)\big)

    Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531. The factor
    :math:`\tau^2` keeps gradients of one size when the temperature changes (section 2 of the paper).

    Args:
        temperature: the softening; 4 in the CIFAR-100 benchmark of Tian et al., 2020 (arXiv:1910.10699), beside
            factor 0.9 and 0.1 for the cross-entropy; 2 in the released VID code, with both factors 1.
    """

    name = "kd"
    paper = "Hinton, Vinyals, Dean, 2015, arXiv:1503.02531"

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise UserError(f"the temperature of kd should be positive, but {temperature} was given (usual: 1 to 20).")
        self.temperature = temperature

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        log_q = F.log_softmax(at_least_float32(student.logits) / self.temperature, dim=1)
        log_p = F.log_softmax(at_least_float32(teacher.logits.detach()) / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
