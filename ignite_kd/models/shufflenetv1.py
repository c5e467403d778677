"""ShuffleNet with 3 groups for 32×32 images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.models.network import Network, run_blocks, shuffle
from ignite_kd.models.resnet import group_of
from ignite_kd.representation import Representation

__all__ = ["ShuffleV1"]

_GROUPS = 3


class ShuffleV1(Network):
    """Grouped 1×1 convolutions with shuffled channels around depthwise 3×3 ones; 4, 8 and 4 units.

    Zhang, Zhou, Lin, Sun: "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices", 2017,
    arXiv:1707.01083, as RepDistiller (arXiv:1910.10699) has it for CIFAR-100: a 1×1 stem of stride 1, a rectification
    after the depthwise convolution too (the paper has none there), and units that are a quarter as wide inside as
    their branch gives out, so that the first one of a stage is narrower. Names and order of the state dict are theirs.

    `features` are the stem and the stages after their rectification; `before_relu` are the stages before it. Any image
    size is taken. Weights begin as torch's layers do.

    Args:
        num_classes: the number of logits.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self._declare(
            "ShuffleV1",
            num_classes,
            channels={"stem": 24, "layer1": 240, "layer2": 480, "layer3": 960, "pooled": 960},
            strides={"stem": 1, "layer1": 2, "layer2": 4, "layer3": 8},
            feature_modules=("conv1", "bn1", "layer1", "layer2", "layer3"),
            norms={"layer1": "layer1.3.bn3", "layer2": "layer2.7.bn3", "layer3": "layer3.3.bn3"},
        )
        self.conv1 = nn.Conv2d(3, 24, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.layer1 = group_of(_Unit, 4, 24, 240, stride=2)
        self.layer2 = group_of(_Unit, 8, 240, 480, stride=2)
        self.layer3 = group_of(_Unit, 4, 480, 960, stride=2)
        self.linear = nn.Linear(960, num_classes)

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, the same before their rectification, and the pooled vector."""
        stem = F.relu(self.bn1(self.conv1(images)))
        layer1, before1 = run_blocks(self.layer1, stem)
        layer2, before2 = run_blocks(self.layer2, layer1)
        layer3, before3 = run_blocks(self.layer3, layer2)
        return self._represented(
            self.linear,
            layer3.mean(dim=(2, 3)),
            {"stem": stem, "layer1": layer1, "layer2": layer2, "layer3": layer3},
            {"layer1": before1, "layer2": before2, "layer3": before3},
        )


class _Unit(nn.Module):
    """A branch, added to the input, or set before its average where the stride is 2; the caller rectifies."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        branch = outputs - inputs if stride == 2 else outputs
        inner = branch // 4
        self.groups = 1 if inputs == 24 else _GROUPS  # the stem's few channels are not split
        self.conv1 = nn.Conv2d(inputs, inner, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, branch, 1, groups=_GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(branch)

    def forward(self, maps: Tensor) -> Tensor:
        inner = shuffle(F.relu(self.bn1(self.conv1(maps))), self.groups)
        branch = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(inner)))))
        if self.stride == 2:
            return torch.cat([branch, F.avg_pool2d(maps, 3, stride=2, padding=1)], dim=1)
        return branch + maps
