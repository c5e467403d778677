"""VGG as torchvision has it, with its three linear layers: vgg11_fc3, vgg13_fc3, vgg16_fc3, vgg19_fc3."""

from __future__ import annotations

from torch import nn

from ignite_kd.errors import UserError
from ignite_kd.models.three_layers import ThreeLayerNetwork, linear_layers, trunk_of

__all__ = ["VGGFC3"]

_LAST_CONVOLUTION = {11: 18, 13: 22, 16: 28, 19: 34}


class VGGFC3(ThreeLayerNetwork):
    """Sixteen times smaller maps of 3×3 convolutions, pooled to 7×7, then linear layers of 4096 numbers.

    Simonyan, Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv:1409.1556.
    Names and results are torchvision's; only the number of logits differs. Images of any size from 32 pixels on are
    taken: the last maps are averaged to 7×7, or repeated where they are smaller, as torchvision does it.

    Args:
        depth: 11, 13, 16 or 19.
        num_classes: the number of logits.
    """

    smallest = 32

    def __init__(self, depth: int = 16, num_classes: int = 1000) -> None:
        super().__init__()
        if depth not in _LAST_CONVOLUTION:
            raise UserError(f"this network has depth 11, 13, 16 or 19, not {depth}; take vgg16_fc3")
        self.features = trunk_of(f"vgg{depth}").get_submodule("features")
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = linear_layers(512 * 7 * 7, 4096, num_classes)
        last = f"features.{_LAST_CONVOLUTION[depth]}"
        layers = {"conv": last, "fc1": "classifier.0", "fc2": "classifier.3", "fc3": "classifier.6"}
        self._declare_layers(f"vgg{depth}_fc3", num_classes, layers, stride=16)
        self._initialise()
