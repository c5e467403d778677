"""AlexNet as torchvision has it, with its three linear layers: alexnet_fc3."""

from __future__ import annotations

from torch import nn

from ignite_kd.models.three_layers import ThreeLayerNetwork, linear_layers, trunk_of

__all__ = ["AlexNetFC3"]


class AlexNetFC3(ThreeLayerNetwork):
    """Five convolutions, pooled to 6×6, then linear layers of 4096 numbers with a dropout before the first two.

    Krizhevsky: "One weird trick for parallelizing convolutional neural networks", 2014, arXiv:1404.5997. Names and
    results are torchvision's; only the number of logits differs. Images of any size from 63 pixels on are taken, the
    study's have 227: the last maps are averaged to 6×6, or repeated where they are smaller, as torchvision does it.

    Args:
        num_classes: the number of logits.
    """

    smallest = 63

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = trunk_of("alexnet").get_submodule("features")
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        *layers, top = linear_layers(256 * 6 * 6, 4096, num_classes)
        first, rectified, _, second, rectified_too, _ = layers
        self.classifier = nn.Sequential(nn.Dropout(), first, rectified, nn.Dropout(), second, rectified_too, top)
        places = {"conv": "features.10", "fc1": "classifier.1", "fc2": "classifier.4", "fc3": "classifier.6"}
        self._declare_layers("alexnet_fc3", num_classes, places, stride=18)
        self._initialise()
