r"""Linear centred kernel alignment: how alike two networks arrange the same images, whatever the width of their stages.

.. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(XX^T, YY^T)}{\sqrt{\mathrm{HSIC}(XX^T, XX^T)\,\mathrm{HSIC}(YY^T, YY^T)}}

Kornblith et al., ICML 2019, arXiv:1905.00414, in the minibatch form of Nguyen et al., ICLR 2021, arXiv:2010.15327: each
HSIC is the mean over batches of the unbiased estimate (Song et al., JMLR 2012), so features of one batch are held at a
time, the size of the batch moves nothing on average, and unrelated features give 0, or a little less. The batches have
to be drawn at random. In that paper batches count alike; here each counts by its images.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["LinearCKA", "centred_gram"]


def centred_gram(features: Tensor) -> Tensor:
    """The inner products of all pairs of images (N × anything), centred so that two such matrices multiplied entry by
    entry and summed give n (n − 3) HSIC; float64, on the CPU."""
    x = features.flatten(1)
    x = x - x.mean(0)  # takes nothing from the result, and much from the rounding
    gram = (x @ x.T).cpu().double().fill_diagonal_(0)
    n = len(gram)
    sums = gram.sum(0)
    gram += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums) / (n - 2)
    return gram.fill_diagonal_(0)


class LinearCKA:
    """Between every stage of one network and every stage of another, batch by batch."""

    def __init__(self) -> None:
        self.stages: tuple[str, ...] = ()
        self.other_stages: tuple[str, ...] = ()
        self._products: tuple[Tensor, ...] = ()

    def add(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
        """`centred_gram`s of one batch by stage. The estimate needs four images: a batch of fewer is left out."""
        x, y = (torch.stack(list(grams.values())).flatten(1) for grams in (one, other))
        n = len(next(iter(one.values())))
        self.stages, self.other_stages = tuple(one), tuple(other)
        if n < 4:
            return
        found = x @ y.T, x.square().sum(1), y.square().sum(1)
        before = self._products or (torch.zeros(()),) * 3
        # n times the estimate: sums over n (n - 3)
        self._products = tuple(sums + more / (n - 3) for sums, more in zip(before, found, strict=True))

    def matrix(self) -> Tensor:
        """One's stages × other's stages; NaN where a stage does not tell images apart."""
        if not self._products:
            return torch.full((len(self.stages), len(self.other_stages)), torch.nan)
        cross, own, shown = self._products
        return cross / (own[:, None] * shown).sqrt()
