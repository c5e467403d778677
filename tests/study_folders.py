"""Small stand-ins for what the quantification study trains on: trees of images, and a small network."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ignite_kd.handlers import plots
from ignite_kd.models import resnet_fc3

__all__ = ["pictures", "tiny", "tiny_trunk"]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """data/CUB: two classes, eight images to learn from, four to validate; the working folder is beside it."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(("ani", "wren")):
            folder = tmp_path / "data" / "CUB" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 100, (50, 70, 3)) + 120 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path


def tiny_trunk(name="resnet18"):
    """A trunk with torchvision's names, of eight channels."""
    torch.manual_seed(1)
    first = {
        "conv1": nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        "bn1": nn.BatchNorm2d(8),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(2),
    }
    blocks = {f"layer{i}": nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()) for i in range(1, 5)}
    return nn.Sequential(OrderedDict(first | blocks | {"fc": nn.Linear(8, 10)}))


@pytest.fixture
def tiny(monkeypatch):
    """resnet18_fc3 is a network of a few thousand weights, and nobody draws curves."""
    monkeypatch.setattr(plots, "available", lambda: False)
    monkeypatch.setattr(resnet_fc3, "trunk_of", tiny_trunk)
    monkeypatch.setitem(resnet_fc3._WIDTHS, 18, (8, 16))
