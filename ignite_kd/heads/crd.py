"""Contrastive representation distillation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, no_autocast
from ignite_kd.heads.memory import Draw, MemoryBank
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.heads.vectors import as_vectors, unit
from ignite_kd.representation import Batch, Representation

__all__ = ["CRD"]


class CRD(Head):
    r"""Tell an image's own teacher representation from those of other images, and the other way round.

    .. math:: \mathcal{L} = L(v^s, M^t) + L(v^t, M^s), \qquad
        L(v, M) = -\frac{1}{N} \sum_n \Big[ \ln \frac{o_{n0}}{o_{n0} + K/R + \epsilon}
        + \sum_{k=1}^{K} \ln \frac{K/R}{o_{nk} + K/R + \epsilon} \Big], \qquad
        o_{nk} = \frac{e^{\langle M_{c_{nk}}, v_n \rangle / \tau}}{Z(M)}

    with embeddings v of length one by a linear layer on either side, both trained; memory banks M of the R training
    images' embeddings; a positive :math:`c_{n0}` and K negatives of other classes; and Z, one for each bank: the mean
    of the exponentials in the very first batch times R, constant from then on. Tian, Krishnan, Isola: "Contrastive
    Representation Distillation", ICLR 2020, arXiv:1910.10699. The paper draws negatives from all other images or from
    those of other classes; the benchmark does the latter, with factor 0.8 beside the cross-entropy and, as CRD+KD, KD
    with factor 1.
    The scores are of the banks as they were before the step, as released; there Z and the banks are not saved.

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
    """

    name = "crd"
    paper = "Tian, Krishnan, Isola, 2020, arXiv:1910.10699"
    remembers = True
    couples_batch = True  # through Z; and the rows that one image moves are another's negatives
    log_normalisers: Tensor

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
    ) -> None:
        super().__init__()
        for option, number in (("samples", samples), ("feature_dim", feature_dim), ("negatives", negatives)):
            if number < 1:
                raise UserError(f"{option} of {self.name} should be 1 or more, but {number} was given.")
        if not temperature > 0:
            raise UserError(f"the temperature of {self.name} should be positive, but {temperature} was given.")
        if not 0 <= momentum < 1:
            raise UserError(f"the momentum of {self.name} should be 0 or more and below 1, but {momentum} was given.")
        if mode not in ("exact", "relax"):
            raise UserError(f"the mode of {self.name} should be exact or relax, but '{mode}' was given.")
        pairs = pair_stages(student_channels, teacher_channels, "pooled" if stages is None else stages)
        if len(pairs) > 1:
            raise UserError(f"{self.name} contrasts one stage, but {len(pairs)} were given; choose one of them.")
        self.own, self.shown = pairs[0]
        self.temperature, self.negatives = temperature, negatives
        labels = torch.arange(samples) if labels is None else labels
        self.samples = len(labels)
        self.draw = Draw(labels, negatives, mode == "relax")
        self.student_embedding = nn.Linear(student_channels[self.own], feature_dim)
        self.teacher_embedding = nn.Linear(teacher_channels[self.shown], feature_dim)
        self.student_bank = MemoryBank(self.samples, feature_dim, momentum)
        self.teacher_bank = MemoryBank(self.samples, feature_dim, momentum)
        self.register_buffer("log_normalisers", torch.full((2,), math.inf))  # infinite: not set yet

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        own, shown = self.embed(student, teacher)
        indices = self._checked(batch)
        return self.contrast(own, shown, self.draw(indices), indices)

    def embed(self, student: Representation, teacher: Representation) -> tuple[Tensor, Tensor]:
        """Vectors of length one."""
        own = self.project(self.student_embedding, as_vectors(student.stage(self.own)))
        shown = self.project(self.teacher_embedding, as_vectors(teacher.stage(self.shown)).detach())
        return unit(at_least_float32(own)), unit(at_least_float32(shown))

    def project(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """One side's embedding, before it gets length one."""
        return layer(x)

    def contrast(self, own: Tensor, shown: Tensor, positions: Tensor, indices: Tensor) -> Tensor:
        """The loss at given positions, N × (1 + K), of the banks; in training mode the images' rows then move."""
        with no_autocast(own):
            loss = self._contrast(self.teacher_bank.scores(own, positions), 0)
            loss = loss + self._contrast(self.student_bank.scores(shown, positions), 1)
        if self.training:
            self.student_bank.write(indices, own)
            self.teacher_bank.write(indices, shown)
        return loss

    def _contrast(self, scores: Tensor, side: int) -> Tensor:
        scores = scores / self.temperature
        # all in logarithms: where the temperature is low, the exponentials overflow
        found = scores.detach().flatten().logsumexp(0) + math.log(self.samples / scores.numel())
        known = self.log_normalisers[side]
        normaliser = torch.where(known.isinf(), found.to(known), known)
        if self.training:
            with torch.no_grad():
                self.log_normalisers[side] = normaliser
        noise = self.negatives / self.samples
        surplus = scores - normaliser - math.log(noise + 1e-7)  # ln o - ln(K/R + ε)
        positive = F.logsigmoid(surplus[:, 0])  # ln o / (o + K/R + ε)
        negative = F.logsigmoid(-surplus[:, 1:]).sum(1) + self.negatives * math.log(noise / (noise + 1e-7))
        return -(positive + negative).mean()

    def _checked(self, batch: Batch) -> Tensor:
        indices = batch.indices
        if indices is None:
            raise UserError(
                f"{self.name} remembers every training image by its index, but the loader gives none; "
                "let it yield (images, labels, indices)."
            )
        inside = (indices < self.samples).all()
        if indices.is_cuda:  # looking would make the host wait
            torch._assert_async(inside, f"{self.name}: an index is beyond its memory; build it with samples=")
        elif not inside:
            raise UserError(
                f"{self.name} remembers {self.samples} images, but the loader gave index {int(indices.max())}; "
                "build it with the labels of all training images, or with samples=."
            )
        return indices
