"""VGG networks with batch norm for small images: vgg8, vgg11, vgg13, vgg16, vgg19."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.models.network import Network
from ignite_kd.representation import Representation

__all__ = ["VGG"]

_WIDTHS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(Network):
    """Five blocks of 3×3 convolutions with bias and batch norm, global pooling, and one linear layer.

    Simonyan, Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv:1409.1556,
    with batch norm (arXiv:1502.03167) and without the large classifier. As in RepDistiller (arXiv:1910.10699), whose
    names and order the state dict has, blocks 1, 2 and 3 halve the map by max-pooling and block 4 does so for images
    of 64 pixels or more alone: with 32×32 images the last two blocks work on maps of one size, 4×4.

    `features` are what the blocks give out, rectified, before the next pooling (`stem` is block 0, `layer1` block 1,
    …); `before_relu` are the same before their rectification. `strides` are those for images below 64 pixels.

    Args:
        depth: 8, 11, 13, 16 or 19.
        num_classes: the number of logits.
    """

    def __init__(self, depth: int = 8, num_classes: int = 10) -> None:
        super().__init__()
        if depth not in _CONVOLUTIONS:
            nearest = min(_CONVOLUTIONS, key=lambda known: abs(known - depth))
            raise UserError(f"a vgg network has depth 8, 11, 13, 16 or 19, not {depth}; take vgg{nearest}")
        counts = _CONVOLUTIONS[depth]
        stages = ("stem", "layer1", "layer2", "layer3", "layer4")
        self._declare(
            f"vgg{depth}",
            num_classes,
            channels={**dict(zip(stages, _WIDTHS, strict=True)), "pooled": 512},
            strides={"stem": 1, "layer1": 2, "layer2": 4, "layer3": 8, "layer4": 8},
            feature_modules=[f"block{block}" for block in range(5)],
            norms={f"layer{block}": f"block{block}.{3 * counts[block] - 2}" for block in range(1, 5)},
        )
        inputs = 3
        for block, (width, count) in enumerate(zip(_WIDTHS, counts, strict=True)):
            self.add_module(f"block{block}", _block(inputs, width, count))
            inputs = width
        self.classifier = nn.Linear(512, num_classes)
        self._kaiming_convolutions()
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def represent(self, images: Tensor) -> Representation:
        """Logits, the blocks' outputs, the same before their rectification, and the pooled vector."""
        features: dict[str, Tensor] = {}
        before: dict[str, Tensor] = {}
        maps = images
        for block in range(5):
            if block in (1, 2, 3) or (block == 4 and images.shape[-1] >= 64):
                maps = F.max_pool2d(maps, 2)
            stage = f"layer{block}" if block else "stem"
            before[stage] = self.get_submodule(f"block{block}")(maps)
            features[stage] = maps = F.relu(before[stage])
        del before["stem"]
        return self._represented(self.classifier, maps.mean(dim=(2, 3)), features, before)


def _block(inputs: int, outputs: int, count: int) -> nn.Sequential:
    """Convolution, batch norm, rectification, …, without the last rectification."""
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers[:-1])
