"""ResNet18 and ResNet34 for large images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.models.network import Network, run_blocks
from ignite_kd.models.resnet import BasicBlock, group_of
from ignite_kd.representation import Representation

__all__ = ["ImageNetResNet"]

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class ImageNetResNet(Network):
    """A residual network of ImageNet's size: a 7×7 stem of stride 2, max-pooling, four groups of 64 … 512 channels.

    He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385, table 1. ResNet34 as
    the teacher of ResNet18 is the ImageNet experiment of CRD (arXiv:1910.10699) and ITRD (arXiv:2112.00459). The state
    dict has torchvision's names in torchvision's order, so that its weights load; logits are the same.

    `features` are the stem before max-pooling (half the image's size) and the groups after their rectification;
    `before_relu` are the groups' last sums before it. Any image size is taken.

    Args:
        depth: 18 or 34.
        num_classes: the number of logits.
    """

    def __init__(self, depth: int = 18, num_classes: int = 1000) -> None:
        super().__init__()
        if depth not in _BLOCKS:
            raise UserError(f"this network has depth 18 or 34, not {depth}; take torchvision:resnet{depth}")
        blocks = _BLOCKS[depth]
        widths = {"stem": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
        self._declare(
            f"ResNet{depth}",
            num_classes,
            channels={**widths, "pooled": 512},
            strides={"stem": 2, "layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32},
            feature_modules=("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"),
            norms={f"layer{group}": f"layer{group}.{count - 1}.bn2" for group, count in enumerate(blocks, start=1)},
        )
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = group_of(BasicBlock, blocks[0], 64, 64, stride=1)
        self.layer2 = group_of(BasicBlock, blocks[1], 64, 128, stride=2)
        self.layer3 = group_of(BasicBlock, blocks[2], 128, 256, stride=2)
        self.layer4 = group_of(BasicBlock, blocks[3], 256, 512, stride=2)
        self.fc = nn.Linear(512, num_classes)
        self._kaiming_convolutions()

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, the same before their rectification, and the pooled vector."""
        stem = F.relu(self.bn1(self.conv1(images)))
        layer1, before1 = run_blocks(self.layer1, F.max_pool2d(stem, 3, stride=2, padding=1))
        layer2, before2 = run_blocks(self.layer2, layer1)
        layer3, before3 = run_blocks(self.layer3, layer2)
        layer4, before4 = run_blocks(self.layer4, layer3)
        return self._represented(
            self.fc,
            layer4.mean(dim=(2, 3)),
            {"stem": stem, "layer1": layer1, "layer2": layer2, "layer3": layer3, "layer4": layer4},
            {"layer1": before1, "layer2": before2, "layer3": before3, "layer4": before4},
        )
