"""The inputs of the traces of the released VID code, as golden/README.md defines them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from oracles import wave
from torch import Tensor

from ignite_kd.representation import Batch

__all__ = ["GOLDEN", "STUDENT_SEED", "batches", "set_weights"]

GOLDEN = json.loads((Path(__file__).parent / "golden" / "vid_released_code.json").read_text())
STUDENT_SEED = 1000003


@torch.no_grad()
def set_weights(state: dict[str, Tensor], position: int) -> None:
    """The walk through a state dict that golden/README.md describes."""
    for key, entry in state.items():
        w = wave(entry.numel(), position).reshape(entry.shape)
        position += entry.numel()
        if key.startswith("variance_param"):
            continue
        if key.endswith(("num_batches_tracked", "running_mean")):
            entry.zero_()
        elif key.endswith("running_var"):
            entry.fill_(1)
        elif entry.dim() == 4:
            entry.copy_(w * math.sqrt(2) * math.sqrt(2 / entry[0].numel()))
        elif entry.dim() == 2:
            entry.copy_(w * math.sqrt(2) * math.sqrt(1 / entry.shape[1]))
        elif key.endswith(("bn1.weight", "bn2.weight")):
            entry.copy_(1 + 0.1 * w)
        else:
            entry.copy_(0.1 * w)


def batches(n: int, count: int) -> Iterator[Batch]:
    for t in range(count):
        labels = [(7 * i + t) % 10 for i in range(n)]
        yield Batch(wave(n * 3072, 7919 * t).reshape(n, 3, 32, 32), torch.tensor(labels))
