"""Networks that say what they compute: `model(images)` gives logits, `model.represent(images)` the features too.

Every model has `name`, `num_classes`, and declarations in plain data: `channels`, `strides`, `feature_modules` and
`norms` (see `Network`). Any other classifier of torchvision is there as `torchvision:NAME`, any other network of yours
through `tap`. `macs` says what a network costs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from ignite_kd.errors import UserError, unknown
from ignite_kd.models.alexnet_fc3 import AlexNetFC3
from ignite_kd.models.binary_resnet import BinaryResNet
from ignite_kd.models.cost import macs, parameters, products
from ignite_kd.models.from_torchvision import from_torchvision, has
from ignite_kd.models.imagenet_resnet import ImageNetResNet
from ignite_kd.models.mlp import MLP
from ignite_kd.models.mobilenetv2 import MobileNetV2
from ignite_kd.models.network import Network
from ignite_kd.models.resnet import ResNet
from ignite_kd.models.resnet50 import ResNet50
from ignite_kd.models.resnet_fc3 import ResNetFC3
from ignite_kd.models.shufflenetv1 import ShuffleV1
from ignite_kd.models.shufflenetv2 import ShuffleV2
from ignite_kd.models.tap import tap
from ignite_kd.models.vgg import VGG
from ignite_kd.models.vgg_fc3 import VGGFC3
from ignite_kd.models.wideresnet import ZooWideResNet
from ignite_kd.models.wrn import WideResNet

__all__ = [
    "MLP",
    "VGG",
    "VGGFC3",
    "AlexNetFC3",
    "BinaryResNet",
    "ImageNetResNet",
    "MobileNetV2",
    "Network",
    "ResNet",
    "ResNet50",
    "ResNetFC3",
    "ShuffleV1",
    "ShuffleV2",
    "WideResNet",
    "ZooWideResNet",
    "build",
    "check_name",
    "from_torchvision",
    "macs",
    "names",
    "parameters",
    "products",
    "size_options",
    "tap",
]


class _Family(NamedTuple):
    pattern: str
    build: Callable[..., nn.Module]  # gets the pattern's groups, as text, then num_classes and the options
    listed: tuple[str, ...]


_FAMILIES = (
    _Family(
        r"wrn_(\d+)_(\d+)",
        lambda depth, width, **options: WideResNet(int(depth), int(width), **options),
        ("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2"),
    ),
    _Family(r"mlp(?:_(\d+))?", lambda width, **options: MLP(int(width or 1024), **options), ("mlp_1024",)),
    _Family(  # ITRD writes resnet18; no network for small images has these depths
        r"(?:ResNet|resnet)(18|34)",
        lambda depth, **options: ImageNetResNet(int(depth), **options),
        ("ResNet18", "ResNet34"),
    ),
    _Family(
        r"resnet(\d+)(?:x(4))?",
        lambda depth, width, **options: ResNet(int(depth), int(width or 1), **options),
        (*(f"resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)), "resnet8x4", "resnet32x4"),
    ),
    _Family(
        r"wideresnet(\d+)_(\d+)",
        lambda depth, width, **options: ZooWideResNet(int(depth), int(width), **options),
        ("wideresnet16_4",),
    ),
    _Family(r"ResNet50", ResNet50, ("ResNet50",)),
    _Family(
        r"vgg(\d+)",
        lambda depth, **options: VGG(int(depth), **options),
        ("vgg8", "vgg11", "vgg13", "vgg16", "vgg19"),
    ),
    _Family(r"MobileNetV2", MobileNetV2, ("MobileNetV2",)),
    _Family(r"ShuffleV1", ShuffleV1, ("ShuffleV1",)),
    _Family(r"ShuffleV2", ShuffleV2, ("ShuffleV2",)),
    _Family(r"resnet(\d+)_1w1a", lambda depth, **options: BinaryResNet(int(depth), **options), ("resnet20_1w1a",)),
    # of the quantification study, for large images; listed nowhere as 32×32 are too small for some of them
    _Family(r"alexnet_fc3", AlexNetFC3, ()),
    _Family(r"vgg(\d+)_fc3", lambda depth, **options: VGGFC3(int(depth), **options), ()),
    _Family(r"resnet(\d+)_fc3", lambda depth, **options: ResNetFC3(int(depth), **options), ()),
    _Family(r"torchvision:(.*)", from_torchvision, ()),
)


def build(name: str, num_classes: int = 10, **options: Any) -> nn.Module:
    """The network called `name`, freshly initialised from torch's random state.

    Beside the names of `names()`, a family builds every size that its scheme has room for, e.g. `wrn_28_10` or
    `resnet26`, and `torchvision:NAME` builds torchvision's classifier of that name.
    """
    for family in _FAMILIES:
        if match := re.fullmatch(family.pattern, name):
            return family.build(*match.groups(), num_classes=num_classes, **options)
    raise _unknown(name)


def check_name(name: str, image_size: int = 32) -> None:
    """Refuse a name that `build` does not know, or a size that a network does not take, at hardly any cost."""
    with torch.device("meta"), torch.no_grad():
        try:
            model = build(name, **size_options(name, image_size)).eval()
        except UserError:
            raise
        except Exception:  # some networks of torchvision cannot be built without numbers
            return
        with contextlib.suppress(Exception):
            model(torch.zeros(2, 3, image_size, image_size))
            return
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # is it the size, or something that needs numbers?
        try:
            build(name, **size_options(name, image_size)).eval()(torch.zeros(2, 3, image_size, image_size))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{name} does not take images of {image_size}×{image_size}: {reason}") from None


def size_options(name: str, image_size: int) -> dict[str, Any]:
    """What `build` has to be told of the images' size: only networks of one input size ask for it."""
    return {"image_size": image_size} if name.startswith(("mlp", "torchvision:vit_", "torchvision:maxvit_")) else {}


def names() -> list[str]:
    """The names that benchmarks use."""
    return [name for family in _FAMILIES for name in family.listed]


def _unknown(name: str) -> UserError:
    """Names of networks are written in every way: MobilenetV2, wrn-16-2, densenet121 without its prefix."""
    same = [known for known in names() if _letters(known) == _letters(name)]
    if not same and has(name):
        same = [f"torchvision:{name}"]
    if same:
        return UserError(f"unknown model '{name}'; did you mean '{same[0]}'? (`ignite-kd list models` shows all)")
    return unknown("model", name, names())


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
