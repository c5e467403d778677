"""Neuron selectivity transfer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ignite_kd.heads.base import Head, at_least_float32, no_autocast, pool_to_smaller
from ignite_kd.heads.stages import Stages, pair_stages, refuse_vectors
from ignite_kd.heads.vectors import unit
from ignite_kd.representation import Batch, Representation

__all__ = ["NST"]


class NST(Head):
    r"""Let the channels be spread over an image as the teacher's are: a maximum mean discrepancy of channel maps.

    .. math:: \mathcal{L} = \sum_l \mathop{\mathrm{mean}}_n \Big[
        \mathop{\mathrm{mean}}_{i,i'} \langle u_i, u_{i'} \rangle^2
        + \mathop{\mathrm{mean}}_{j,j'} \langle v_j, v_{j'} \rangle^2
        - 2 \mathop{\mathrm{mean}}_{i,j} \langle u_i, v_j \rangle^2 \Big]

    with the student's channels :math:`u_i` and the teacher's :math:`v_j`, each flattened over its positions and of
    length one. Huang, Wang: "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", 2017,
    arXiv:1707.01219, with its polynomial kernel of degree 2 (the paper tries a linear and a Gaussian one too). In the
    CIFAR-100 benchmark of Tian et al., 2020 (arXiv:1910.10699) it acts on all stages between stem and pooling, with
    factor 50 beside the cross-entropy. The larger map is pooled to the smaller. Channels that are dead count as zeros.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: which maps, of both or student's → teacher's; by default all that both have before pooling.
    """

    name = "nst"
    paper = "Huang, Wang, 2017, arXiv:1707.01219"
    needs_maps = True

    def __init__(
        self, student_channels: Mapping[str, int], teacher_channels: Mapping[str, int], stages: Stages = None
    ) -> None:
        super().__init__()
        self.pairs = pair_stages(student_channels, teacher_channels, stages)
        refuse_vectors(self.name, self.pairs)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms = []
        for own, shown in self.pairs:
            maps = pool_to_smaller(student.stage(own), teacher.stage(shown).detach())
            terms.append(_discrepancy(*(unit(at_least_float32(x).flatten(2), dim=2) for x in maps)))
        return torch.stack(terms).sum()


def _discrepancy(u: Tensor, v: Tensor) -> Tensor:
    """From N × channels × positions, by the cheaper of two equal forms: products of channels, or of positions."""
    (n, own, positions), shown = u.shape, v.shape[1]
    with no_autocast(u):
        if positions * (own + shown) < own * own + own * shown + shown * shown:
            spread = torch.bmm(u.mT, u) / own - torch.bmm(v.mT, v) / shown
            return spread.square().sum() / n
        within, across = torch.bmm(u, u.mT).square().mean(), torch.bmm(u, v.mT).square().mean()
        return within + torch.bmm(v, v.mT).square().mean() - 2 * across
