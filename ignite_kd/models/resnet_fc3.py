"""Residual networks with two more convolutions and three linear layers: resnet18_fc3, resnet50_fc3, resnet101_fc3, …"""

from __future__ import annotations

from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.models.three_layers import ThreeLayerNetwork, linear_layers, trunk_of

__all__ = ["ResNetFC3"]

_WIDTHS = {18: (512, 4096), 34: (512, 4096), 50: (2048, 2048), 101: (2048, 2048), 152: (2048, 2048)}
_TRUNK = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")


class ResNetFC3(ThreeLayerNetwork):
    """torchvision's trunk, two 3×3 convolutions of its full width, global pooling, and three linear layers.

    He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385; what follows the trunk
    is the study's (arXiv:2003.03622). The trunk has torchvision's names, so that its weights load (`load_trunk`).
    `conv` is what the second batch norm of `extra` gives out; its own weight is the convolution's before it. Images
    of any size are taken.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: the number of logits.
    """

    def __init__(self, depth: int = 50, num_classes: int = 1000) -> None:
        super().__init__()
        if depth not in _WIDTHS:
            raise UserError(f"this network has depth 18, 34, 50, 101 or 152, not {depth}; take resnet50_fc3")
        width, hidden = _WIDTHS[depth]
        for name, child in trunk_of(f"resnet{depth}").named_children():
            if name in (*_TRUNK, "relu", "maxpool"):
                self.add_module(name, child)
        self.extra = nn.Sequential(*_block(width), *_block(width)[:-1])
        self.mlp = linear_layers(width, hidden, num_classes)
        places = {"conv": "extra.3", "fc1": "mlp.0", "fc2": "mlp.3", "fc3": "mlp.6"}
        self._declare_layers(
            f"resnet{depth}_fc3", num_classes, places, 32, _TRUNK, more_features=("extra",), norms={"conv": "extra.4"}
        )
        self._initialise()

    def _convolve(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = images
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "extra"):
            maps = self.get_submodule(name)(maps)
        rectified = nn.functional.relu(maps)
        return maps, rectified, rectified.mean(dim=(2, 3))


def _block(width: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 3, padding=1, device="meta"), nn.BatchNorm2d(width, device="meta"), nn.ReLU()]
