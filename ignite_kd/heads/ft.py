"""Factor transfer: a paraphraser of the teacher, a translator of the student."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32, pool_to_smaller
from ignite_kd.heads.first_stage import FirstStage
from ignite_kd.heads.regressor import BatchNorm
from ignite_kd.heads.stages import Stages, channels_of, pair_stages
from ignite_kd.heads.vectors import energy
from ignite_kd.representation import Batch, Representation

__all__ = ["FT"]


class FT(Head):
    r"""Translate the student's last map into the factor to which a paraphraser has boiled the teacher's down.

    .. math:: \mathcal{L} = \mathop{\mathrm{mean}}_{n,h,w} \big| f(T(s)) - f(P(t)) \big|^p, \qquad
        f(X) = \frac{e}{\|e\|_2}, \quad e_{h,w} = \mathop{\mathrm{mean}}_c X_{c,h,w}^2

    Kim, Park, Kwak: "Paraphrasing Complex Network: Network Compression via Factor Transfer", NeurIPS 2018,
    arXiv:1802.04977. The paper compares the whole factors, :math:`f(X) = X / \|X\|_2`; this is the form of the
    CIFAR-100 benchmark of Tian et al., 2020 (arXiv:1910.10699), which compares where their energy is. There the term
    acts on the last stage with factor 200, beside the cross-entropy.

    A first stage of 30 epochs trains the paraphraser to give the teacher's map back; after it the paraphraser is
    frozen. Attached without a first stage the head works with a paraphraser as it was drawn.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: where, one stage; the last before pooling by default. It must be a map, of two pixels or more.
        factor_rate: the channels of the factor as a share of the teacher's.
        p: the power of the difference, 1 or 2.
    """

    name = "ft"
    paper = "Kim, Park, Kwak, 2018, arXiv:1802.04977"
    couples_batch = only_norms_couple = True  # by the batch norms of the translator

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        factor_rate: float = 0.5,
        p: int = 1,
    ) -> None:
        super().__init__()
        pairs = pair_stages(student_channels, teacher_channels, stages, default="last")
        if len(pairs) > 1:
            raise UserError(f"ft transfers one stage, but {len(pairs)} were given; choose one of them.")
        self.own, self.shown = pairs[0]
        for who, stage in (("student", self.own), ("teacher", self.shown)):
            if stage == "pooled":
                raise _no_map(who, stage)
        inputs, width = student_channels[self.own], teacher_channels[self.shown]
        factor = int(width * factor_rate) if 0 < factor_rate <= 1 else 0
        if not factor:
            raise UserError(
                f"factor_rate of ft should be above 0, at most 1, and leave a channel of {width}, but {factor_rate} "
                "was given (usual: 0.5 to 1)."
            )
        if p not in (1, 2):
            raise UserError(f"p of ft should be 1 or 2, but {p} was given.")
        self.p = p
        self.paraphraser = _Paraphraser(width, factor).requires_grad_(False)  # but in the first stage
        widths = ((inputs, inputs), (inputs, factor), (factor, factor))
        self.translator = nn.Sequential(
            *chain.from_iterable((nn.Conv2d(*w, 3, padding=1), BatchNorm(w[1]), nn.LeakyReLU(0.1)) for w in widths)
        )

    @classmethod
    def for_models(cls, student: nn.Module, teacher: nn.Module | None, **options: Any) -> FT:
        head = cls(channels_of(student), channels_of(teacher), **options)
        for who, model, stage in (("student", student, head.own), ("teacher", teacher, head.shown)):
            strides = getattr(model, "strides", None)
            if isinstance(strides, Mapping) and stage not in strides:
                raise _no_map(who, stage)
        return head

    def first_stage(self, student: nn.Module) -> FirstStage:
        # the benchmark asks for the student's family, though nothing of the student learns here
        slow = str(getattr(student, "name", "")).startswith(("resnet", "wrn"))
        learner = _Paraphrasing(self.paraphraser)
        term = _Reconstruction(learner, self.shown)
        return FirstStage(learner, term, learning_rate=0.01 if slow else None, frozen_otherwise=True)

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        target = teacher.stage(self.shown)
        feature = student.stage(self.own)
        for who, stage, maps in (("student", self.own, feature), ("teacher", self.shown, target)):
            if maps[0, 0].numel() == 1:
                raise _no_map(who, stage)
        with torch.no_grad():
            factor = self.paraphraser.encoder(target)
        translated, factor = pool_to_smaller(self.translator(feature), factor)
        return (energy(translated) - energy(factor)).abs().pow(self.p).mean()


class _Paraphraser(nn.Module):
    """An autoencoder of maps that keeps their size."""

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        down, up = (
            ((width, width), (width, factor), (factor, factor)),
            ((factor, factor), (factor, width), (width,) * 2),
        )
        self.encoder = nn.Sequential(
            *chain.from_iterable((nn.Conv2d(*w, 3, padding=1), nn.LeakyReLU(0.1)) for w in down)
        )
        self.decoder = nn.Sequential(
            *chain.from_iterable((nn.ConvTranspose2d(*w, 3, padding=1), nn.LeakyReLU(0.1)) for w in up)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return self.decoder(self.encoder(maps))


class _Paraphrasing(nn.Module):
    """The paraphraser in a student's place. What it learns from is the teacher's map; of images it says nothing."""

    def __init__(self, paraphraser: _Paraphraser) -> None:
        super().__init__()
        self.paraphraser = paraphraser

    def represent(self, images: Tensor) -> Representation:
        return Representation(images.new_zeros(len(images), 1))


class _Reconstruction(Head):
    """The mean squared error with which the paraphraser gives the teacher's map back."""

    name = "reconstruction"

    def __init__(self, learner: _Paraphrasing, stage: str) -> None:
        super().__init__()
        self.learner = (learner,)  # in a tuple: its weights are the learner's, not this term's
        self.stage = stage

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        maps = teacher.stage(self.stage).detach()
        found = self.learner[0].paraphraser(maps)
        return (at_least_float32(found) - at_least_float32(maps)).square().mean()


def _no_map(who: str, stage: str) -> UserError:
    return UserError(
        f"ft compares where in a map the energy is, but '{stage}' of the {who} is a single pixel; "
        "choose stages=NAME of a map that both have, or a method for vectors such as rkd or crd."
    )
