"""What the networks of the quantification study have in common: a trunk of torchvision and three linear layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.models.network import Network
from ignite_kd.representation import Features, Representation

__all__ = ["ThreeLayerNetwork", "linear_layers", "trunk_of"]


class ThreeLayerNetwork(Network):
    """A network whose stages are the four layers of the study: `conv`, `fc1`, `fc2`, `fc3`.

    Cheng, Rao, Chen, Zhang: "Explaining Knowledge Distillation by Quantifying the Knowledge", 2020, arXiv:2003.03622.
    `before_relu` are what the layers give out, `features` the same after their rectification; nothing rectifies
    `fc3`, the logits. Where a dropout stands before a layer, it is part of what the layer sees. `pooled` is what fc3
    sees.

    Attributes:
        trunk: the top-level children that torchvision's weights are for.
        layers: stage → dotted name of the module that holds the stage's own weight.
        smallest: the edge of the smallest image; the maps of a smaller one would vanish.
    """

    trunk: tuple[str, ...]
    layers: dict[str, str]
    smallest: int = 1

    def up_to(self, stage: str) -> list[str]:
        """Dotted names of the modules that make this stage, from the image on."""
        if stage not in self.layers:
            raise UserError(f"{self.name} has no stage '{stage}'; it gives {', '.join(self.layers)}.")
        linear = [name for stage, name in self.layers.items() if stage != "conv"]
        return [*self.feature_modules, *linear[: list(self.layers).index(stage)]]

    def represent(self, images: Tensor) -> Representation:
        """Logits, the four layers after and before their rectification, and what the last one sees."""
        if images.shape[-1] < self.smallest:
            raise UserError(f"{self.name} needs images of {self.smallest} pixels or more, not {images.shape[-1]}.")
        before, features, pooled = {}, {}, images
        before["conv"], features["conv"], vector = self._convolve(images)
        stages = {place: stage for stage, place in self.layers.items()}
        top, _, _ = self.layers["fc3"].partition(".")
        latest = ""
        for index, layer in self.get_submodule(top).named_children():
            seen, vector = vector, layer(vector)
            if f"{top}.{index}" in stages:
                latest, pooled = stages[f"{top}.{index}"], seen
                before[latest] = vector
            elif isinstance(layer, nn.ReLU):
                features[latest] = vector
        features["fc3"] = vector
        return Representation(vector, Features(features, self.name), Features(before, self.name), pooled)

    def _convolve(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The last convolution before and after its rectification, and the vector that is made of it."""
        features, avgpool = (cast(nn.Sequential, self.get_submodule(name)) for name in ("features", "avgpool"))
        layers, last = list(features), int(self.layers["conv"].rpartition(".")[2])
        before = images
        for layer in layers[: last + 1]:
            before = layer(before)
        maps = rectified = F.relu(before)  # the one that stands there would overwrite what it rectifies
        for layer in layers[last + 2 :]:
            maps = layer(maps)
        return before, rectified, avgpool(maps).flatten(1)

    def _declare_layers(
        self,
        name: str,
        num_classes: int,
        layers: Mapping[str, str],
        stride: int,
        trunk: Sequence[str] = ("features",),
        more_features: Sequence[str] = (),
        norms: Mapping[str, str] | None = None,
    ) -> None:
        self.trunk, self.layers = tuple(trunk), dict(layers)
        weights = {stage: cast(Tensor, self.get_submodule(place).weight) for stage, place in layers.items()}
        channels = {stage: len(weight) for stage, weight in weights.items()} | {"pooled": weights["fc3"].shape[1]}
        self._declare(name, num_classes, channels, {"conv": stride}, (*trunk, *more_features), norms or {})

    def _initialise(self) -> None:
        """Every weight anew, as published: Kaiming for convolutions, N(0, 0.01²) for linear layers, biases 0.

        The modules come without memory (from the meta device), so that nothing is drawn twice.
        """
        self.to_empty(device=torch.get_default_device())
        self._kaiming_convolutions()
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)


def trunk_of(name: str) -> nn.Module:
    """torchvision's network of that name without memory: its names and layers, no weights."""
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None)


def linear_layers(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Three linear layers with rectification and dropout between them, without memory."""
    with torch.device("meta"):
        return nn.Sequential(
            nn.Linear(inputs, width),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(width, outputs),
        )
