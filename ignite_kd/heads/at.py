"""Attention transfer: where a network is active."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, pool_to_smaller
from ignite_kd.heads.stages import Stages, pair_stages, refuse_vectors
from ignite_kd.heads.vectors import energy
from ignite_kd.representation import Batch, Representation

__all__ = ["AT"]


class AT(Head):
    r"""Be active where the teacher is: match maps of the energy over all channels, at length one.

    .. math:: \mathcal{L} = \sum_l \mathop{\mathrm{mean}}_{n,h,w} \big( a(s_l) - a(t_l) \big)^2, \qquad
        a(F) = \frac{e}{\|e\|_2}, \quad e_{h,w} = \mathop{\mathrm{mean}}_c F_{c,h,w}^2

    Zagoruyko, Komodakis: "Paying More Attention to Attention: Improving the Performance of Convolutional Neural
    Networks via Attention Transfer", ICLR 2017, arXiv:1612.03928. The paper writes the unsquared length of the
    difference, :math:`\frac{1}{2} \sum_l \| a(s_l) - a(t_l) \|_2` per image; its released code and the CIFAR-100
    benchmark of Tian et al., 2020 (arXiv:1910.10699) have the mean square above. There it acts on all stages between
    stem and pooling, with factor 1000 beside the cross-entropy. The larger map is pooled to the smaller.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: which maps, of both or student's → teacher's; by default all that both have before pooling.
        variant: `benchmark`, the mean square; or `paper`, half the unsquared lengths.
    """

    name = "at"
    paper = "Zagoruyko, Komodakis, 2017, arXiv:1612.03928"
    needs_maps = True

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        variant: str = "benchmark",
    ) -> None:
        super().__init__()
        if variant not in ("benchmark", "paper"):
            raise UserError(f"the variant of at should be benchmark or paper, but '{variant}' was given.")
        self.variant = variant
        self.pairs = pair_stages(student_channels, teacher_channels, stages)
        refuse_vectors(self.name, self.pairs)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for own, shown in self.pairs:
            feature, target = pool_to_smaller(student.stage(own), teacher.stage(shown).detach())
            difference = energy(feature) - energy(target)
            if self.variant == "paper":
                terms.append(torch.linalg.vector_norm(difference, dim=1).mean() / 2)
            else:
                terms.append(difference.square().mean())
        return torch.stack(terms).sum()
