"""MobileNetV2 of half width for 32×32 images."""

from __future__ import annotations

from torch import Tensor, nn

from ignite_kd.models.network import Network
from ignite_kd.representation import Representation

__all__ = ["MobileNetV2"]

# expansion, channels at width 1, units, stride of the first
_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_STAGES = {"layer1": 1, "layer2": 2, "layer3": 4, "layer4": 6}  # stage → the block that gives it


class MobileNetV2(Network):
    """Inverted residuals with linear bottlenecks, expansion 6, at half the paper's width.

    Sandler, Howard, Zhu, Zhmoginov, Chen: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018,
    arXiv:1801.04381, as RepDistiller (arXiv:1910.10699) has it for CIFAR-100: rectification is ReLU and not ReLU6, the
    stem has stride 2, the second group stride 1, and a unit of expansion 1 has its first 1×1 convolution all the
    same. The last convolution has 1280 channels at half width too. Names and order of the state dict are theirs.

    `features` are the stem after its rectification and the outputs of blocks 1, 2, 4 and 6 (counted from 0). Those are
    linear bottlenecks: nothing rectifies them, so `before_relu` holds the same tensors. Any image size is taken.

    Args:
        num_classes: the number of logits.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self._declare(
            "MobileNetV2",
            num_classes,
            channels={"stem": 16, "layer1": 12, "layer2": 16, "layer3": 48, "layer4": 160, "pooled": 1280},
            strides={"stem": 2, "layer1": 2, "layer2": 4, "layer3": 8, "layer4": 16},
            feature_modules=("conv1", "blocks"),
            norms={stage: f"blocks.{block}.{_BLOCKS[block][2] - 1}.conv.7" for stage, block in _STAGES.items()},
        )
        self.conv1 = nn.Sequential(*_unit(3, 16, size=3, stride=2))
        self.blocks = nn.ModuleList()
        inputs = 16
        for expansion, channels, units, stride in _BLOCKS:
            outputs = channels // 2
            first = _InvertedResidual(inputs, outputs, expansion, stride)
            others = [_InvertedResidual(outputs, outputs, expansion, 1) for _ in range(units - 1)]
            self.blocks.append(nn.Sequential(first, *others))
            inputs = outputs
        self.conv2 = nn.Sequential(*_unit(inputs, 1280))
        linear = nn.Linear(1280, num_classes)
        self.classifier = nn.Sequential(linear)
        self._kaiming_convolutions()
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, the same once more as `before_relu`, and the pooled vector."""
        stem = self.conv1(images)
        maps, outputs = stem, []
        for block in self.blocks:
            maps = block(maps)
            outputs.append(maps)
        bottlenecks = {stage: outputs[block] for stage, block in _STAGES.items()}
        pooled = self.conv2(maps).mean(dim=(2, 3))
        return self._represented(self.classifier, pooled, {"stem": stem, **bottlenecks}, bottlenecks)


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.conv = nn.Sequential(
            *_unit(inputs, inner),
            *_unit(inner, inner, size=3, stride=stride, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.conv(maps) if self.residual else self.conv(maps)


def _unit(inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
