"""Residual networks for 32×32 images: resnet8, resnet20, resnet110, …, and the wider resnet8x4 and resnet32x4."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.models.network import Network, depth_error, run_blocks
from ignite_kd.representation import Representation

__all__ = ["BasicBlock", "ResNet"]


class ResNet(Network):
    """A residual network of three groups of two-convolution blocks, with 16, 32 and 64 channels (× 4: 64, 128, 256).

    He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385, section 4.2; depth
    6n + 2 has n blocks a group. As in RepDistiller (Tian et al., 2020, arXiv:1910.10699), whose state dict has the same
    names in the same order, a shortcut that changes size is a 1×1 convolution with batch norm (option B of the paper),
    and resnet<depth>x4 has a stem of 32 channels, so that its first block has such a shortcut too.

    `features` are the stem and the groups after their rectification; `before_relu` are the groups' last sums (branch
    and shortcut) before it. Any image size is taken; the last map is averaged.

    Args:
        depth: 6n + 2, e.g. 8, 14, 20, 32, 44, 56, 110.
        width: 1, or 4 for the "x4" networks; another factor k has a stem of 8 k channels.
        num_classes: the number of logits.
    """

    def __init__(self, depth: int = 20, width: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        wide = f"x{width}" if width > 1 else ""
        if depth < 8 or depth % 6 != 2:
            large = depth in (18, 34, 101, 152) and not wide
            more = f", or torchvision:resnet{depth} for large images" if large else ""
            raise depth_error("a residual network for 32×32 images", depth, f"resnet{{}}{wide}", more)
        stem = 8 * width if wide else 16
        self._make(f"resnet{depth}{wide}", num_classes, (depth - 2) // 6, stem, [16 * width, 32 * width, 64 * width])

    def _make(self, name: str, num_classes: int, blocks: int, stem: int, widths: list[int]) -> None:
        self._declare(
            name,
            num_classes,
            channels={"stem": stem, "layer1": widths[0], "layer2": widths[1], "layer3": widths[2], "pooled": widths[2]},
            strides={"stem": 1, "layer1": 1, "layer2": 2, "layer3": 4},
            feature_modules=("conv1", "bn1", "layer1", "layer2", "layer3"),
            norms={f"layer{group}": f"layer{group}.{blocks - 1}.bn2" for group in (1, 2, 3)},
        )
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = group_of(BasicBlock, blocks, stem, widths[0], stride=1)
        self.layer2 = group_of(BasicBlock, blocks, widths[0], widths[1], stride=2)
        self.layer3 = group_of(BasicBlock, blocks, widths[1], widths[2], stride=2)
        self.fc = nn.Linear(widths[2], num_classes)
        self._kaiming_convolutions()

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, the same before their rectification, and the pooled vector."""
        stem = F.relu(self.bn1(self.conv1(images)))
        layer1, before1 = run_blocks(self.layer1, stem)
        layer2, before2 = run_blocks(self.layer2, layer1)
        layer3, before3 = run_blocks(self.layer3, layer2)
        return self._represented(
            self.fc,
            layer3.mean(dim=(2, 3)),
            {"stem": stem, "layer1": layer1, "layer2": layer2, "layer3": layer3},
            {"layer1": before1, "layer2": before2, "layer3": before3},
        )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; gives their sum, which the caller rectifies."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        return branch + (maps if self.downsample is None else self.downsample(maps))


def group_of(block: type[nn.Module], blocks: int, inputs: int, outputs: int, stride: int) -> nn.ModuleList:
    """So many blocks, of which the first changes channels and size."""
    return nn.ModuleList([block(inputs, outputs, stride), *(block(outputs, outputs, 1) for _ in range(blocks - 1))])
