"""ResNet50 for 32×32 images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.models.network import Network, run_blocks
from ignite_kd.models.resnet import group_of
from ignite_kd.representation import Representation

__all__ = ["ResNet50"]


class ResNet50(Network):
    """The residual network of 50 layers with bottlenecks, with a stem for small images: 3×3, stride 1, no pooling.

    He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385; the stride stands on
    the 3×3 convolution. 3, 4, 6 and 3 bottlenecks with 256, 512, 1024 and 2048 channels. Names and order of the state
    dict are those of RepDistiller (arXiv:1910.10699): the shortcut is `shortcut`, the classifier `linear`. For
    torchvision's network of the same name see `torchvision:resnet50`.

    `features` are the stem and the groups after their rectification; `before_relu` are the groups' last sums before
    it. Any image size is taken.

    Args:
        num_classes: the number of logits.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        blocks = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}
        widths = {"stem": 64, "layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048}
        self._declare(
            "ResNet50",
            num_classes,
            channels={**widths, "pooled": 2048},
            strides={"stem": 1, "layer1": 1, "layer2": 2, "layer3": 4, "layer4": 8},
            feature_modules=("conv1", "bn1", *blocks),
            norms={group: f"{group}.{count - 1}.bn3" for group, count in blocks.items()},
        )
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = group_of(_Bottleneck, blocks["layer1"], 64, 256, stride=1)
        self.layer2 = group_of(_Bottleneck, blocks["layer2"], 256, 512, stride=2)
        self.layer3 = group_of(_Bottleneck, blocks["layer3"], 512, 1024, stride=2)
        self.layer4 = group_of(_Bottleneck, blocks["layer4"], 1024, 2048, stride=2)
        self.linear = nn.Linear(2048, num_classes)
        self._kaiming_convolutions()

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, the same before their rectification, and the pooled vector."""
        stem = F.relu(self.bn1(self.conv1(images)))
        layer1, before1 = run_blocks(self.layer1, stem)
        layer2, before2 = run_blocks(self.layer2, layer1)
        layer3, before3 = run_blocks(self.layer3, layer2)
        layer4, before4 = run_blocks(self.layer4, layer3)
        return self._represented(
            self.linear,
            layer4.mean(dim=(2, 3)),
            {"stem": stem, "layer1": layer1, "layer2": layer2, "layer3": layer3, "layer4": layer4},
            {"layer1": before1, "layer2": before2, "layer3": before3, "layer4": before4},
        )


class _Bottleneck(nn.Module):
    """1×1 to a quarter of the channels, 3×3, 1×1 back, and a shortcut; gives the sum, which the caller rectifies."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        planes = outputs // 4
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()  # the identity
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        branch = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps))))))
        return self.bn3(self.conv3(branch)) + self.shortcut(maps)
