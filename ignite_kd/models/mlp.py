"""Fully connected networks."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.models.network import Network
from ignite_kd.representation import Representation

__all__ = ["MLP"]


class MLP(Network):
    """A perceptron on the image's numbers: `hidden` layers of `width` units with batch norm, then the classifier.

    The baseline that knows nothing of neighbouring pixels. Batch norm (Ioffe, Szegedy, 2015, arXiv:1502.03167) stands
    before each rectification. `features` are vectors: `hidden1` … after their rectification, `before_relu` the same
    before it; `pooled` is the last hidden layer.

    Args:
        width: units in each hidden layer.
        hidden: the number of hidden layers.
        num_classes: the number of logits.
        image_size: height and width of the images; this network has one input size.
    """

    def __init__(self, width: int = 1024, hidden: int = 3, num_classes: int = 10, image_size: int = 32) -> None:
        super().__init__()
        for what, value in (("width", width), ("hidden", hidden), ("num_classes", num_classes)):
            if value < 1:
                raise UserError(f"a perceptron's {what} is 1 or more, not {value}")
        stages = [f"hidden{i}" for i in range(1, hidden + 1)]
        self._declare(
            f"mlp_{width}",
            num_classes,
            channels=dict.fromkeys([*stages, "pooled"], width),
            strides={},  # vectors, no maps
            feature_modules=stages,
            norms={stage: f"{stage}.1" for stage in stages},
        )
        self.image_size = image_size
        sizes = [3 * image_size**2, *[width] * hidden]
        for i, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
            # no bias: the batch norm that follows has its own
            self.add_module(f"hidden{i}", nn.Sequential(nn.Linear(inputs, outputs, False), nn.BatchNorm1d(outputs)))
        self.fc = nn.Linear(width, num_classes)

    def represent(self, images: Tensor) -> Representation:
        """Logits, and every hidden vector after and before its rectification."""
        if images.shape[1:] != (3, self.image_size, self.image_size):
            came = "×".join(map(str, images.shape[1:]))
            size = self.image_size
            raise UserError(
                f"{self.name} takes images of 3×{size}×{size}, not {came}; build it with image_size={images.shape[-1]}"
            )
        features: dict[str, Tensor] = {}
        before_relu: dict[str, Tensor] = {}
        units = images.flatten(1)
        for stage in self.channels:
            if stage != "pooled":
                before_relu[stage] = self.get_submodule(stage)(units)
                features[stage] = units = F.relu(before_relu[stage])
        return self._represented(self.fc, units, features, before_relu)
