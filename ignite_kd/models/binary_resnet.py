"""Residual networks with 1-bit weights and 1-bit activations: resnet20_1w1a and the other depths 6n + 2."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.models.network import Network, depth_error
from ignite_kd.models.resnet import group_of
from ignite_kd.representation import Representation

__all__ = ["BinaryConv2d", "BinaryResNet", "sign"]


class BinaryResNet(Network):
    """A residual network for 32×32 images whose inner convolutions multiply signs by signs ("1w1a").

    From XNOR-Net (Rastegari, Ordonez, Redmon, Farhadi, 2016, arXiv:1603.05279): weights become their sign times the
    mean magnitude of their filter, the gradient passes a sign where its input lies within ±1, and first convolution,
    batch norms and classifier keep full precision. Activations become plain signs, without XNOR-Net's scale for each
    place. From Bi-Real Net (Liu et al., 2018, arXiv:1808.00278): a shortcut around every convolution instead of every
    second one. From IR-Net (Qin et al., 2020, arXiv:1909.10788): the name, and the order convolution, batch norm,
    shortcut, clipping to ±1; not its balanced weights and not its annealed gradient. Shortcuts that change size have no
    weights (every second pixel, the new channels zero: option A of He et al., 2015, arXiv:1512.03385).

    `features` are the stem and the groups after clipping, `before_relu` are the groups' last sums before it. `macs`
    counts binary products as products.

    Args:
        depth: 6n + 2, e.g. 8, 20, 32.
        num_classes: the number of logits.
    """

    def __init__(self, depth: int = 20, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise depth_error("a binary residual network", depth, "resnet{}_1w1a")
        blocks = (depth - 2) // 6
        self._declare(
            f"resnet{depth}_1w1a",
            num_classes,
            channels={"stem": 16, "layer1": 16, "layer2": 32, "layer3": 64, "pooled": 64},
            strides={"stem": 1, "layer1": 1, "layer2": 2, "layer3": 4},
            feature_modules=("conv1", "bn1", "layer1", "layer2", "layer3"),
            norms={f"layer{group}": f"layer{group}.{blocks - 1}.bn2" for group in (1, 2, 3)},
        )
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = group_of(_Block, blocks, 16, 16, stride=1)
        self.layer2 = group_of(_Block, blocks, 16, 32, stride=2)
        self.layer3 = group_of(_Block, blocks, 32, 64, stride=2)
        self.fc = nn.Linear(64, num_classes)
        self._kaiming_convolutions()

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, the same before they are clipped, and the pooled vector."""
        features = {"stem": F.hardtanh(self.bn1(self.conv1(images)))}
        before: dict[str, Tensor] = {}
        maps = features["stem"]
        for stage in ("layer1", "layer2", "layer3"):
            for block in self.get_submodule(stage).children():
                before[stage] = block(maps)
                maps = F.hardtanh(before[stage])
            features[stage] = maps
        return self._represented(self.fc, maps.mean(dim=(2, 3)), features, before)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = BinaryConv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = BinaryConv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.new = stride, outputs - inputs

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))
        maps = F.hardtanh(self.bn1(self.conv1(maps)) + shortcut)
        return self.bn2(self.conv2(maps)) + maps


class BinaryConv2d(nn.Conv2d):
    """A convolution of its input's signs with its weights' signs, scaled by the mean magnitude of each filter.

    The full-precision weights are what is trained; both the signs and the scale hand their gradient to them.
    """

    def binary_weight(self) -> Tensor:
        """What the convolution multiplies with: two values a filter."""
        return sign(self.weight) * self.weight.abs().mean(dim=(1, 2, 3), keepdim=True)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(sign(input), self.binary_weight(), self.bias)


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * (x.abs() <= 1)


def sign(x: Tensor) -> Tensor:
    """1 where x ≥ 0, else −1, so that there are two values; the gradient passes unchanged where |x| ≤ 1."""
    return _Sign.apply(x)
