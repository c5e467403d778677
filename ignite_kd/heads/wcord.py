"""Wasserstein contrastive representation distillation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import no_autocast
from ignite_kd.heads.crd import CRD
from ignite_kd.heads.stages import Stages
from ignite_kd.representation import Batch, Representation

__all__ = ["WCoRD"]


class WCoRD(CRD):
    r"""CRD with embeddings of spectral norm one, and optimal transport between the batch's students and teachers.

    .. math:: \mathcal{L} = \mathrm{GCKT} + \lambda\, \mathrm{LCKT}, \qquad
        \mathrm{LCKT} = \sum_{ij} \Pi_{ij} \big(1 - \langle v^s_i, v^t_j \rangle\big)

    Chen, Wang, Gan, Liu, Henao, Carin: "Wasserstein Contrastive Representation Distillation", CVPR 2021,
    arXiv:2012.08674. No code was released. Known from the abstract: the dual form of the Wasserstein distance
    gives a global contrastive objective (GCKT), the primal form a local one within the batch (LCKT). Taken here: GCKT
    is CRD's loss over its memory, with each embedding's matrix divided by its largest singular value, through which
    the gradient flows; :math:`\Pi` is the plan of entropic transport with uniform marginals after some Sinkhorn
    iterations, held constant; the cost is one minus the cosine. The factors are not known: 0.8 as for CRD, and
    :math:`\lambda` such that LCKT has 0.05 then.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        labels: the class of every training image, in the order of `batch.indices`; a session gives them. Without them
            every image is a class of its own.
        samples: the number of training images where there are no labels.
        stages: one stage of each; `pooled` by default. Maps are averaged over their positions.
        feature_dim: the width of the embeddings.
        negatives: K. Drawn with replacement where there are fewer images of other classes.
        temperature: τ of the scores.
        momentum: the share of an image's row in the bank that stays when it is seen again.
        mode: `exact`: an image's positive is itself; `relax`: any image of its class.
        local_factor: λ, relative to GCKT.
        epsilon: the weight of the entropy in the transport.
        iterations: of Sinkhorn's algorithm.
    """

    name = "wcord"
    paper = "Chen, Wang, Gan, Liu, Henao, Carin, 2021, arXiv:2012.08674"

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        labels: Tensor | None = None,
        samples: int = 50_000,
        stages: Stages = None,
        feature_dim: int = 128,
        negatives: int = 16_384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        mode: str = "exact",
        local_factor: float = 0.0625,
        epsilon: float = 0.1,
        iterations: int = 20,
    ) -> None:
        super().__init__(
            student_channels,
            teacher_channels,
            labels=labels,
            samples=samples,
            stages=stages,
            feature_dim=feature_dim,
            negatives=negatives,
            temperature=temperature,
            momentum=momentum,
            mode=mode,
        )
        if not local_factor >= 0:
            raise UserError(f"local_factor of wcord should be 0 or more, but {local_factor} was given.")
        if not epsilon > 0:
            raise UserError(f"epsilon of wcord should be positive, but {epsilon} was given (usual: 0.05 to 0.5).")
        if iterations < 1:
            raise UserError(f"iterations of wcord should be 1 or more, but {iterations} was given.")
        self.local_factor, self.epsilon, self.iterations = local_factor, epsilon, iterations

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        own, shown = self.embed(student, teacher)
        indices = self._checked(batch)
        loss = self.contrast(own, shown, self.draw(indices), indices)
        return loss + self.local_factor * self.transport(own, shown)

    def project(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """With the matrix divided by its largest singular value: differences are not lengthened."""
        with no_autocast(x):
            norm = _largest_singular_value(layer.weight)
            return F.linear(x, layer.weight / norm.masked_fill(norm < 1e-12, torch.inf), layer.bias)

    def transport(self, own: Tensor, shown: Tensor) -> Tensor:
        """LCKT: what it costs to carry the students' vectors to the teachers'."""
        with no_autocast(own):
            cost = 1 - own @ shown.T
            return (self.plan(cost.detach()) * cost).sum()

    def plan(self, cost: Tensor) -> Tensor:
        """N × N, how much of each student goes to each teacher; every row and column holds 1/N of the whole."""
        kernel = torch.exp(-cost / self.epsilon)
        share = 1 / len(cost)
        rows = columns = cost.new_full((len(cost),), share)
        for _ in range(self.iterations):
            rows = share / (kernel @ columns).clamp_min(torch.finfo(cost.dtype).tiny)
            columns = share / (kernel.T @ rows).clamp_min(torch.finfo(cost.dtype).tiny)
        return rows[:, None] * kernel * columns


def _largest_singular_value(weight: Tensor) -> Tensor:
    with torch.no_grad():  # its vector, out of the smaller Gram matrix: a quarter of the time of an SVD
        wide = weight.shape[0] < weight.shape[1]
        gram = weight @ weight.T if wide else weight.T @ weight
        # weights that are no numbers any more make a loss that is none, which is said by name
        vector = torch.linalg.eigh(gram.nan_to_num()).eigenvectors[:, -1]
    return torch.linalg.vector_norm(vector @ weight if wide else weight @ vector)  # has the gradient of the value
