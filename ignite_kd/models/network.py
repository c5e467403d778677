"""What every network of this package declares, and what several families do alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.representation import Features, Representation

__all__ = ["Network", "depth_error", "run_blocks", "shuffle"]


class Network(nn.Module):
    """A network that gives its features by name and says in plain data what they are; nobody needs a dry run.

    Attributes:
        name: what `models.build` calls it.
        num_classes: the number of logits.
        channels: stage → channels, in order: `stem`, `layer1`, …, `pooled`.
        strides: stage → how many times smaller than the image its map is; stages that are no maps are left out.
        feature_modules: the top-level children that make the features. The others (the classifier, and what stands
            between it and the last stage) stay as they are where a method trains the features first.
        norms: stage → dotted name of the batch norm whose output precedes the stage's rectification, with all of the
            stage's channels; a stage without one is left out.
    """

    name: str
    num_classes: int
    channels: dict[str, int]
    strides: dict[str, int]
    feature_modules: tuple[str, ...]
    norms: dict[str, str]

    def forward(self, images: Tensor) -> Tensor:
        return self.represent(images).logits

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, the same before their rectification, and the pooled vector."""
        raise NotImplementedError

    def _declare(
        self,
        name: str,
        num_classes: int,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        feature_modules: Iterable[str],
        norms: Mapping[str, str],
    ) -> None:
        if num_classes < 1:
            raise UserError(f"a network needs at least 1 class, not {num_classes}")
        self.name, self.num_classes = name, num_classes
        self.channels, self.strides, self.norms = dict(channels), dict(strides), dict(norms)
        self.feature_modules = tuple(feature_modules)

    def _represented(
        self, classifier: nn.Module, pooled: Tensor, features: Mapping[str, Tensor], before: Mapping[str, Tensor]
    ) -> Representation:
        return Representation(classifier(pooled), Features(features, self.name), Features(before, self.name), pooled)

    def _kaiming_convolutions(self) -> None:
        """Convolutions from N(0, 2 / (k² · outputs)), their biases 0; in a depthwise one too all outputs count."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def run_blocks(blocks: nn.ModuleList, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The last block's output, after and before its rectification."""
    before = maps
    for block in blocks:
        before = block(maps)
        maps = F.relu(before)
    return maps, before


def shuffle(maps: Tensor, groups: int) -> Tensor:
    """Channels dealt out in turn: the first of every group, then the second of every group, …"""
    return maps.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def depth_error(kind: str, depth: int, name: str, more: str = "") -> UserError:
    """The error for a depth that is not 6n + 2; `name` has a place for the depth."""
    below = max(8, (depth - 2) // 6 * 6 + 2)
    take = name.format(8) if depth < 8 else f"{name.format(below)} or {name.format(below + 6)}"
    return UserError(f"{kind} has depth 6n + 2 (8, 14, 20, …), not {depth}; take {take}{more}")
