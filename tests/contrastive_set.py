"""The golden inputs of `methods.md` 7.6 for CRD and WCoRD: 50 images, 6 negatives, 16 dimensions."""

from __future__ import annotations

import math

import torch
from oracles import fill, h

from ignite_kd.heads import CRD

__all__ = ["INDICES", "LOGITS", "ROWS", "golden_head", "norm", "pooled"]

LOGITS = torch.zeros(8, 10)
INDICES = (7 * torch.arange(8) + 2) % 50
ROWS = torch.cat([INDICES[:, None], (11 * torch.arange(8)[:, None] + 5 * torch.arange(1, 7) + 3) % 50], 1)


def pooled(width, seed):
    """E of methods.md 7.1: S4 and T4 of the golden sets."""
    return ((1 + h((8, width), seed)) / 2).requires_grad_()


def golden_head(kind=CRD, **options):
    head = kind({"pooled": 32}, {"pooled": 64}, samples=50, feature_dim=16, negatives=6, **options).double()
    fill(head.student_embedding, 300)
    fill(head.teacher_embedding, 900)
    bound = 1 / math.sqrt(16 / 3)
    head.student_bank.rows.copy_(bound * h((50, 16), 1500))
    head.teacher_bank.rows.copy_(bound * h((50, 16), 2500))
    return head


def norm(tensors):
    return math.sqrt(sum(t.square().sum().item() for t in tensors))
