"""The pooled vectors and the logits of `methods.md` 7.3, and what is measured on them."""

from __future__ import annotations

import torch
from oracles import h

from ignite_kd.representation import Batch, Representation

__all__ = ["WIDTHS", "logits", "pooled", "vectors"]

WIDTHS = {"S": {"pooled": 32}, "T": {"pooled": 64}}


def vectors(x):
    return Representation(torch.zeros(len(x), 2), pooled=x)


def pooled(letter):
    """Entry 4 of the sets S and T, with a gradient."""
    seed = {"S": 4011, "T": 4503}[letter]
    return vectors(((1 + h((8, WIDTHS[letter]["pooled"]), seed)) / 2).requires_grad_())


def logits(head):
    """The loss on the golden logits and labels, and the norm of its gradient."""
    own, shown = ((3 * h((8, 10), seed)).requires_grad_() for seed in (71, 905))
    batch = Batch(torch.zeros(8), torch.tensor([(3 * i + 1) % 10 for i in range(8)]))
    loss = head(Representation(own), Representation(shown), batch)
    loss.backward()
    assert shown.grad is None
    return loss.item(), own.grad.norm().item()
