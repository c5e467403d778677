"""Knowledge review: every stage of the teacher is learned from all deeper stages of the student."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.heads.base import Head, at_least_float32
from ignite_kd.heads.regressor import BatchNorm, as_map
from ignite_kd.heads.stages import Stages, pair_stages
from ignite_kd.representation import Batch, Representation

__all__ = ["ReviewKD"]


class ReviewKD(Head):
    r"""Fuse the student's stages from deep to shallow by attention, and match what comes out with the teacher's.

    .. math:: \mathcal{L} = \sum_j \mathrm{HCL}\big(\mathrm{conv}_{3 \times 3}(r_j), t_j\big), \qquad
        r_j = a_j \circ \mathrm{conv}_{1 \times 1}(s_j) + b_j \circ r_{j-1}

    .. math:: \mathrm{HCL}(o, t) = \frac{\mathrm{mse}(o, t) + \sum_{l \in \{4, 2, 1\}} w_l \,
        \mathrm{mse}(\mathrm{pool}_l\, o, \mathrm{pool}_l\, t)}{1 + \sum_l w_l}, \qquad
        w = \tfrac12, \tfrac14, \tfrac18

    The maps :math:`a_j, b_j` come from a convolution over both; only pools smaller than the map are taken, and the
    weights go to them in turn. The deepest "stage" is the pooled vector. Chen, Liu, Zhao, Jia: "Distilling Knowledge
    via Knowledge Review", CVPR 2021, arXiv:2104.09044. As in the released code the student's stages are taken after
    their rectification, the teacher's before it (or as they are, where they have no such place). Its factors differ
    by pair, 0.6 to 8 beside the cross-entropy, and grow over the first 20 epochs: recipe `crd`, handler `WarmUp`.

    Args:
        student_channels: the student's `channels`.
        teacher_channels: the teacher's `channels`.
        stages: pairs of stages from shallow to deep, without `pooled`, which always comes along; by default all
            between stem and pooling, the deepest with the deepest.
        max_width: of the fused maps; the width of the student's pooled vector where that is less.
    """

    name = "reviewkd"
    paper = "Chen, Liu, Zhao, Jia, 2021, arXiv:2104.09044"
    couples_batch = only_norms_couple = True  # by the batch norms of the fusion

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        stages: Stages = None,
        max_width: int = 512,
    ) -> None:
        super().__init__()
        if max_width < 1:
            raise UserError(f"max_width of reviewkd should be 1 or more, but {max_width} was given (usual: 512).")
        if stages is None:
            own, shown = (
                [stage for stage in channels if stage not in ("stem", "pooled")]
                for channels in (student_channels, teacher_channels)
            )
            pairs = list(zip(reversed(own), reversed(shown), strict=False))
        else:
            pairs = pair_stages(student_channels, teacher_channels, stages)[::-1]
            if any("pooled" in pair for pair in pairs):
                raise UserError("stages of reviewkd should not name pooled, which always comes along.")
        self.pairs = pair_stages(student_channels, teacher_channels, "pooled") + pairs  # from deep to shallow
        width = min(max_width, student_channels["pooled"])
        self.fusions = nn.ModuleList(
            _Fusion(student_channels[own], width, teacher_channels[shown], attentive=level > 0)
            for level, (own, shown) in enumerate(self.pairs)
        )

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        terms, deeper = [], None
        for (own, shown), fusion in zip(self.pairs, self.fusions, strict=True):
            target = as_map(teacher.before(shown) if shown in teacher.before_relu else teacher.stage(shown)).detach()
            found, deeper = fusion(as_map(student.stage(own)), deeper, target.shape[2:])
            terms.append(hierarchical_loss(at_least_float32(found), at_least_float32(target)))
        return torch.stack(terms).sum()


class _Fusion(nn.Module):
    """The attention based fusion of a stage with what has come from deeper ones; entries in the released order."""

    def __init__(self, inputs: int, width: int, outputs: int, attentive: bool) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), BatchNorm(width))
        self.conv2 = nn.Sequential(nn.Conv2d(width, outputs, 3, padding=1, bias=False), BatchNorm(outputs))
        self.attention = nn.Conv2d(2 * width, 2, 1) if attentive else None
        for module in (*self.conv1, *self.conv2):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)

    def forward(self, maps: Tensor, deeper: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """(what the teacher's map is matched with, what the next shallower stage gets), both of the teacher's size."""
        fused = self.conv1(maps)
        if deeper is not None and self.attention is not None:
            # over both at once, as published, but without writing them side by side; and what is alike in the copies
            # of a pixel is multiplied once
            ours, theirs = self.attention.weight.split(fused.shape[1], dim=1)
            weights = F.conv2d(fused, ours, self.attention.bias)
            weights = (weights + _resized(F.conv2d(deeper, theirs), fused.shape[2:])).sigmoid()
            fused = torch.addcmul(fused * weights[:, :1], _resized(deeper, fused.shape[2:]), weights[:, 1:])
        fused = _resized(fused, size)
        return self.conv2(fused), fused


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    """To the nearest pixel."""
    count, width, height, breadth = maps.shape
    down, across = size[0] // height, size[1] // breadth
    if size[0] != down * height or size[1] != across * breadth:
        return F.interpolate(maps, tuple(size), mode="nearest")
    if down == across == 1:
        return maps
    # what interpolate does with whole factors, in a fifth of its time on a CPU
    copies = maps[:, :, :, None, :, None].expand(-1, -1, -1, down, -1, across)
    return copies.reshape(count, width, *size)


def hierarchical_loss(found: Tensor, target: Tensor) -> Tensor:
    """HCL: the mean squared error of two maps, and of what is left of them at 4 × 4, 2 × 2 and one pixel."""
    loss, total, weight = F.mse_loss(found, target), 1.0, 0.5
    for size in (4, 2, 1):
        if size < found.shape[2]:
            loss = loss + weight * F.mse_loss(F.adaptive_avg_pool2d(found, size), F.adaptive_avg_pool2d(target, size))
            total, weight = total + weight, weight / 2
    return loss / total
