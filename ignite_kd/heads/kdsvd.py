"""KDSVD: how the leading singular vectors of one stage follow those of the stage before."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, no_autocast, pool_to_smaller
from ignite_kd.heads.stages import Stages, pair_stages, refuse_vectors
from ignite_kd.heads.vectors import unit
from ignite_kd.representation import Batch, Representation

__all__ = ["KDSVD"]

_CANDIDATES = 4  # of the student's vectors, for the teacher's first


class KDSVD(Head):
    r"""Distil each map to its leading singular vector, and match how that vector differs from stage to stage.

    .. math:: \mathcal{L} = \frac{1}{N} \sum_{l \ge 2} \sum_{n,a,b} \big( R^s - R^t \big)^2, \qquad
        R[n, a, b] = \exp\!\Big( \!-\tfrac{1}{8} \big( w_l[n, a] - w_{l-1}[n, b] \big)^2 \Big)

    where :math:`w` is the first right singular vector of the teacher's map, and that of the student's first four which
    is most parallel to it, turned to its side. Lee, Kim, Song: "Self-Supervised Knowledge Distillation Using Singular
    Value Decomposition", ECCV 2018, arXiv:1807.06819.

    The matrix of a map is positions × channels in the variant `benchmark`, as in the CIFAR-100 benchmark of Tian et
    al., 2020 (arXiv:1910.10699), which needs equal widths and publishes no factor; and (channels · rows) × columns in
    `mdistiller`, which has factor 1, takes any widths, and here pools the larger map. Both act on all stages between
    stem and pooling.

    A singular vector has no sign of its own, and the released value depends on those that a routine happens to return
    (0.045 instead of 0.0025 on one input). Here the entry of largest magnitude of the teacher's vectors is positive
    always. Singular vectors of nearly equal singular values have no bounded derivative either: 1 / (λ - λ') of their
    squares is guarded, as :math:`d / (d^2 + \epsilon^2)` with :math:`\epsilon = \lambda_1 \sqrt{\mathrm{eps}}`, and
    those of (numerically) zero singular values are no candidates.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: two stages or more, in order; by default all that both have before pooling.
        variant: `benchmark` or `mdistiller`, how a map becomes a matrix.
    """

    name = "kdsvd"
    paper = "Lee, Kim, Song, 2018, arXiv:1807.06819"
    needs_maps = True

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        variant: str = "benchmark",
    ) -> None:
        super().__init__()
        if variant not in ("benchmark", "mdistiller"):
            raise UserError(f"the variant of kdsvd should be benchmark or mdistiller, but '{variant}' was given.")
        self.variant = variant
        self.pairs = pair_stages(student_channels, teacher_channels, stages)
        if len(self.pairs) < 2:
            raise UserError(
                f"kdsvd compares how stages follow each other and needs two or more, but has only '{self.pairs[0][0]}';"
                " give stages=first+second, or take networks that share stages."
            )
        refuse_vectors(self.name, self.pairs)
        for own, shown in self.pairs:
            if variant == "benchmark" and student_channels[own] != teacher_channels[shown]:
                raise UserError(
                    f"kdsvd needs equal widths, but the student's '{own}' has {student_channels[own]} channels and the "
                    f"teacher's '{shown}' {teacher_channels[shown]}; take variant=mdistiller, which compares columns."
                )

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        vectors = []
        for own, shown in self.pairs:
            feature, target = at_least_float32(student.stage(own)), at_least_float32(teacher.stage(shown)).detach()
            if self.variant == "mdistiller":
                feature, target = (x.flatten(1, 2) for x in pool_to_smaller(feature, target))
            else:
                feature, target = (x.flatten(2).mT for x in (feature, target))
            with no_autocast(feature):
                reference = _canonical(_singular_vectors(target, 1)[2][:, :, 0])
                vectors.append((_most_parallel(feature, reference), reference))
        terms = []
        for (student_before, teacher_before), (student_now, teacher_now) in pairwise(vectors):
            change = _relation(student_now, student_before) - _relation(teacher_now, teacher_before)
            terms.append(change.square().sum())
        return torch.stack(terms).sum() / len(vectors[0][0])


def _relation(w: Tensor, before: Tensor) -> Tensor:
    return (-(w[:, :, None] - before[:, None, :]).square() / 8).exp()


def _canonical(v: Tensor) -> Tensor:
    return v * v.gather(1, v.abs().argmax(1, keepdim=True)).sign()


@torch.no_grad()
def _singular_vectors(x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of N × rows × columns: squared singular values and vectors of the smaller side, leading right vectors.

    All from the products of the smaller side, a small symmetric matrix. Descending; 0 for a singular value of 0.
    """
    small = x if x.shape[1] < x.shape[2] else x.mT
    gram = torch.bmm(small, small.mT).nan_to_num(0, 0, 0)  # eigh ends the run where one is not finite; the loss says it
    values, vectors = (y.flip(-1) for y in torch.linalg.eigh(gram))
    leading = vectors[:, :, :count]
    right = unit(torch.bmm(x.mT, leading)) if small is x else leading
    noise = values[:, :1] * values.shape[1] * torch.finfo(values.dtype).eps
    return values, vectors, right * (values > noise)[:, None, :count]


def _most_parallel(x: Tensor, reference: Tensor) -> Tensor:
    """Of the leading right vectors of x the one most parallel to `reference`, on its side, with a gradient."""
    values, vectors, right = _singular_vectors(x, _CANDIDATES)
    cosines = torch.bmm(right.mT, reference[:, :, None])[:, :, 0]
    best = cosines.abs().argmax(1, keepdim=True)
    sign = cosines.gather(1, best).sign()

    # the derivative of an eigenvector e of G is Σ_j e_j ⟨e_j, dG e⟩ / (λ - λ_j): G e less its value carries it
    small = x if x.shape[1] < x.shape[2] else x.mT
    e = vectors.gather(2, best[:, None].expand(-1, vectors.shape[1], 1))
    moved = torch.bmm(small, torch.bmm(small.mT, e))
    gaps = values.gather(1, best) - values
    guard = values[:, :1].square() * torch.finfo(values.dtype).eps + torch.finfo(values.dtype).tiny
    inverse = (gaps / (gaps.square() + guard))[:, :, None]
    e = e + torch.bmm(vectors, inverse * torch.bmm(vectors.mT, moved - moved.detach()))
    return sign * (unit(torch.bmm(x.mT, e)) if small is x else e)[:, :, 0]
