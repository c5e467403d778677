"""ShuffleNetV2 for 32×32 images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.models.network import Network, shuffle
from ignite_kd.representation import Representation

__all__ = ["ShuffleV2"]


class ShuffleV2(Network):
    """Units that pass one half of the channels on, work on the other, and shuffle both; 4, 8 and 4 units, size 1.

    Ma, Zhang, Zheng, Sun: "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018,
    arXiv:1807.11164, as RepDistiller (arXiv:1910.10699) has it for CIFAR-100: a 1×1 stem of stride 1. Names and order
    of the state dict are theirs.

    `features` are the stem after its rectification and the stages after their last shuffle. `before_relu` is the
    last unit's untouched half followed by the other before its rectification, *not shuffled*, as in the benchmark:
    the channels stand in another order than in `features`. No batch norm has all channels of a stage, so `norms` is
    empty. `pooled` comes from a further 1×1 convolution of 1024 channels. Any image size is taken. Weights begin as
    torch's layers do.

    Args:
        num_classes: the number of logits.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self._declare(
            "ShuffleV2",
            num_classes,
            channels={"stem": 24, "layer1": 116, "layer2": 232, "layer3": 464, "pooled": 1024},
            strides={"stem": 1, "layer1": 2, "layer2": 4, "layer3": 8},
            feature_modules=("conv1", "bn1", "layer1", "layer2", "layer3"),
            norms={},
        )
        self.conv1 = nn.Conv2d(3, 24, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.layer1 = _Stage([_Down(24, 116), *(_Unit(116) for _ in range(3))])
        self.layer2 = _Stage([_Down(116, 232), *(_Unit(232) for _ in range(7))])
        self.layer3 = _Stage([_Down(232, 464), *(_Unit(464) for _ in range(3))])
        self.conv2 = nn.Conv2d(464, 1024, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, num_classes)

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, the unshuffled halves before their rectification, and the pooled vector."""
        stem = F.relu(self.bn1(self.conv1(images)))
        layer1, before1 = self.layer1(stem)
        layer2, before2 = self.layer2(layer1)
        layer3, before3 = self.layer3(layer2)
        return self._represented(
            self.linear,
            F.relu(self.bn2(self.conv2(layer3))).mean(dim=(2, 3)),
            {"stem": stem, "layer1": layer1, "layer2": layer2, "layer3": layer3},
            {"layer1": before1, "layer2": before2, "layer3": before3},
        )


class _Stage(nn.ModuleList):
    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        for unit in self:
            kept, before = unit(maps)
            maps = shuffle(torch.cat([kept, F.relu(before)], dim=1), 2)
        return maps, torch.cat([kept, before], dim=1)


class _Unit(nn.Module):
    """Gives the half that it leaves alone, and the other, which the caller rectifies."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        kept, worked = maps.chunk(2, dim=1)
        worked = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(worked)))))
        return kept, self.bn3(self.conv3(worked))


class _Down(nn.Module):
    """Halves the map in two branches; gives the left one, and the right one, which the caller rectifies."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = nn.Conv2d(inputs, inputs, 3, stride=2, padding=1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = nn.Conv2d(inputs, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(inputs, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, stride=2, padding=1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(maps)))))
        right = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(maps)))))
        return left, self.bn5(self.conv5(right))
