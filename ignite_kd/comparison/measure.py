"""One pass over the images for all networks: what each says, and how alike their stages are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ignite_kd.comparison.cka import LinearCKA, centred_gram
from ignite_kd.engines import TeacherEngine

__all__ = ["Measured", "measure"]


@dataclass(frozen=True)
class Measured:
    """Labels and, by network, logits (both on the CPU); and the alignment of each pair that was asked for."""

    labels: Tensor
    logits: dict[str, Tensor]
    alignments: dict[tuple[str, str], LinearCKA]


def measure(
    networks: Mapping[str, tuple[nn.Module, str]],
    pairs: Iterable[tuple[str, str]],
    loaders: Mapping[str, Iterable[tuple[Tensor, Tensor]]],
    device: torch.device,
) -> Measured:
    """Go through the loaders, which yield the same images in the same order.

    Of a batch, the features of one network are held at a time, and the inner products of its images.

    Args:
        networks: name → (network, which of the loaders it looks at).
        pairs: names of networks whose stages are aligned.
    """
    engines = {name: TeacherEngine(model, device) for name, (model, _) in networks.items()}
    logits: dict[str, list[Tensor]] = {name: [] for name in networks}
    alignments = {pair: LinearCKA() for pair in pairs}
    labels = []
    aligned = {name for pair in alignments for name in pair}
    for batches in zip(*loaders.values(), strict=True):
        batch = dict(zip(loaders, batches, strict=True))
        labels.append(batches[0][1].cpu())
        grams: dict[str, dict[str, Tensor]] = {}
        for name, (_, word) in networks.items():
            seen = engines[name].represent(batch[word][0].to(device))
            logits[name].append(seen.logits.cpu())
            if name in aligned:
                stages = dict(seen.features) | ({} if seen.pooled is None else {"pooled": seen.pooled})
                grams[name] = {stage: centred_gram(features) for stage, features in stages.items()}
        for (name, other), alignment in alignments.items():
            if grams[name] and grams[other]:  # some networks give logits alone
                alignment.add(grams[name], grams[other])
    return Measured(torch.cat(labels), {name: torch.cat(parts) for name, parts in logits.items()}, alignments)
