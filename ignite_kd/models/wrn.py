"""Wide residual networks for 32×32 images, with the parameter names of the released VID code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.models.network import Network
from ignite_kd.representation import Representation

__all__ = ["WideResNet"]


class WideResNet(Network):
    """A pre-activation residual network of three groups with 16, 32 and 64 × `width` channels.

    Zagoruyko, Komodakis: "Wide Residual Networks", 2016, arXiv:1605.07146; depth 6n + 4 has n blocks a group. Names
    and order of the state dict are those of the released code of VID (Ahn et al., 2019, arXiv:1904.05835). As there
    and in RepDistiller, a shortcut convolution acts on the rectified batch norm of the block's input.

    `features` are the stem's convolution and the raw sums of the groups. `before_relu` is such a sum after the *next*
    batch norm: the first one of the next group, or the last one of the network. It is taken from the forward pass, so
    running statistics move once a call. In RepDistiller they move twice where such features are asked for (an
    effective momentum of 0.19 instead of 0.1); set `doubled_norm_updates` for that.

    Args:
        depth: 6n + 4, e.g. 10, 16, 22, 28, 40.
        width: the factor on the channels.
        num_classes: the number of logits.

    Attributes:
        doubled_norm_updates: if True, the three batch norms that give `before_relu` see every batch a second time in
            training, outside of the gradient: their running statistics move twice, and nothing else changes.
    """

    doubled_norm_updates = False

    def __init__(self, depth: int = 16, width: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        _check(depth, width)
        blocks = (depth - 4) // 6
        widths = [16 * width, 32 * width, 64 * width]
        self._declare(
            f"wrn_{depth}_{width}",
            num_classes,
            channels={"stem": 16, "layer1": widths[0], "layer2": widths[1], "layer3": widths[2], "pooled": widths[2]},
            strides={"stem": 1, "layer1": 1, "layer2": 2, "layer3": 4},
            feature_modules=("conv1", "layer1", "layer2", "layer3"),
            norms={"layer1": "layer2.layer.0.bn1", "layer2": "layer3.layer.0.bn1", "layer3": "bn1"},
        )
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layer1 = _Group(16, 16 * width, blocks, stride=1)
        self.layer2 = _Group(16 * width, 32 * width, blocks, stride=2)
        self.layer3 = _Group(32 * width, 64 * width, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, num_classes)
        self._kaiming_convolutions()
        nn.init.zeros_(self.fc.bias)

    def represent(self, images: Tensor) -> Representation:
        """Logits, the raw sum of every group, the same before its rectification, and the pooled vector."""
        stem = self.conv1(images)
        layer1, _ = self.layer1(stem)
        layer2, before1 = self.layer2(layer1)
        layer3, before2 = self.layer3(layer2)
        before3 = self.bn1(layer3)
        if self.doubled_norm_updates:
            self._update_norms_again({"layer1": layer1, "layer2": layer2, "layer3": layer3})
        return self._represented(
            self.fc,
            F.relu(before3).mean(dim=(2, 3)),
            {"stem": stem, "layer1": layer1, "layer2": layer2, "layer3": layer3},
            {"layer1": before1, "layer2": before2, "layer3": before3},
        )

    @torch.no_grad()
    def _update_norms_again(self, sums: dict[str, Tensor]) -> None:
        for stage, name in self.norms.items():
            norm = self.get_submodule(name)
            if norm.training:  # asked of each: some methods train the features alone, and the last norm is none
                norm(sums[stage])


class _Group(nn.Module):
    """Blocks of one size; gives its sum and its normalised input, which is the `before_relu` of the stage before."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        first = _Block(inputs, outputs, stride)
        self.layer = nn.ModuleList([first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1))])

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        first, *others = self.layer
        maps, normed = first(maps)
        for block in others:
            maps, _ = block(maps)
        return maps, normed


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        normed = self.bn1(maps)
        active = F.relu(normed)
        shortcut = maps if self.conv_shortcut is None else self.conv_shortcut(active)
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + shortcut, normed


def _check(depth: int, width: int) -> None:
    if depth < 10 or depth % 6 != 4:
        below = (depth - 4) // 6 * 6 + 4
        nearest = "10" if depth < 10 else f"{below} or {below + 6}"
        raise UserError(f"a wide residual network has depth 6n + 4 (10, 16, 22, …), not {depth}; take {nearest}")
    if width < 1:
        raise UserError(f"a wide residual network has width 1 or more, not {width}; take 1 or 2")
