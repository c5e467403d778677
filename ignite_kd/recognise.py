"""Which network a file of weights is of: by its card, by names and shapes, or by its folder's name."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ignite_kd import models
from ignite_kd.cards import read_card
from ignite_kd.errors import UserError
from ignite_kd.layouts import read, rename

__all__ = [
    "Known",
    "describe",
    "is_network",
    "name_of",
    "name_of_folder",
    "options_of",
    "recognise",
    "teacher_name",
]

_COUNTER = "num_batches_tracked"  # absent from files of old versions
Shapes = Mapping[str, tuple[int, ...]]


class Known(NamedTuple):
    """A network that `models.build(name, num_classes=…, **options)` builds."""

    name: str
    num_classes: int
    options: dict[str, Any]

    def __str__(self) -> str:
        """ "wrn_16_2 with 100 classes"."""
        words = f"{self.name} with {self.num_classes} classes"
        if self.options and self.options != {"hidden": 3, "image_size": 32}:
            size = self.options["image_size"]
            words += f", {self.options['hidden']} hidden layers and {size}×{size} images"
        return words


def recognise(state: Mapping[str, Tensor]) -> Known | None:
    """Which of this package's networks, or of torchvision's common ones, has exactly these names and shapes; or None.

    Names and shapes do not tell torchvision's resnet18 and resnet34 from `ResNet18` and `ResNet34`, which compute the
    same: those are named. A file of another layout is `layouts.rename`d first.
    """
    shapes = _shapes(state)
    # the classifier is the last matrix of every network here
    classes = next((shape[0] for shape in reversed(shapes.values()) if len(shape) == 2), 0)
    if not classes:
        return None
    for name, options in _guesses(shapes):
        with torch.device("meta"):  # names and shapes alone: no memory, no random numbers
            candidate = _candidate(name, classes, options)
        if candidate is not None and _shapes(candidate.state_dict()) == shapes:
            return Known(name, classes, options)
    return None


def is_network(known: Known, name: str) -> bool:
    """Whether a network of that name has these names and shapes: `ResNet18` and `torchvision:resnet18` do both."""
    shapes = []
    for each in (known.name, name):
        with torch.device("meta"):
            network = _candidate(each, known.num_classes, known.options if each.startswith("mlp") else {})
        shapes.append(None if network is None else _shapes(network.state_dict()))
    return shapes[0] == shapes[1]


def describe(state: Mapping[str, Tensor]) -> str | None:
    """`recognise` in words: "wrn_16_2 with 100 classes"; else None."""
    known = recognise(state)
    return None if known is None else str(known)


def name_of_folder(path: str | Path) -> str | None:
    """The network that the file's folder is called after, as RepDistiller's are; None where it is called otherwise.

    `wrn_40_2_vanilla/ckpt_epoch_240.pth` is wrn_40_2, `resnet32x4_vanilla/…` is resnet32x4.
    """
    folder = Path(path).absolute().parent.name
    first, *others = folder.split("_")
    fields = 2 if first == "wrn" else 1 if first.startswith("wideresnet") else 0
    name = "_".join([first, *others[:fields]])
    if others[:1] == ["1w1a"]:
        name = f"{first}_1w1a"
    with torch.device("meta"):
        return name if _candidate(name, 10, {}) is not None else None


def teacher_name(path: str | Path, state: Mapping[str, Tensor] | None = None, option: str = "--model_t") -> str:
    """The name of the network whose weights are in `path`, as `name_of` finds it.

    Args:
        state: the weights in `path` under this package's names, where they were read already.
        option: what a user can say the name with, for the error.
    """
    card = read_card(path) if Path(path).is_file() else None  # a missing file is an error below
    if card is not None and isinstance(card.get("model"), str):
        return card["model"]
    return name_of(path, card, recognise(rename(read(path)).state if state is None else state), option)[0]


def name_of(path: str | Path, card: dict[str, Any] | None, known: Known | None, option: str) -> tuple[str, str]:
    """(name of the network in `path`, what says so).

    The card beside it says it; else names and shapes do, as what they were recognised; else the folder's name, as in
    RepDistiller. Where the folder is called after another network than the file holds, a warning says so and the file
    is believed.
    """
    if card is not None and isinstance(card.get("model"), str):
        return card["model"], "its card"
    folder = name_of_folder(path)
    if known is not None:
        if folder is not None and folder != known.name:
            warnings.warn(
                f"{path} is {known}, though its folder is called after {folder}; the file is believed.", stacklevel=3
            )
        return known.name, "its names and shapes"
    if folder is not None:
        return folder, "its folder's name"
    raise UserError(
        f"neither the names and shapes in {path} nor its folder's name tell which network it is; "
        f"say {option} NAME (`ignite-kd list models`)."
    )


def options_of(name: str, known: Known | None, image_size: int) -> dict[str, Any]:
    """What `models.build(name, …)` has to be told: as the file was recognised, else by the images' size."""
    if known is not None and known.name == name:
        return known.options
    return models.size_options(name, image_size)


def _candidate(name: str, classes: int, options: dict[str, Any]) -> nn.Module | None:
    try:
        if name.startswith("torchvision:"):  # as it is there: nothing has to be tapped for its names
            from torchvision.models import get_model

            return get_model(name.removeprefix("torchvision:"), weights=None, num_classes=classes)
        return models.build(name, num_classes=classes, **options)
    except ValueError:  # a guess of a size that is none
        return None


def _guesses(shapes: Shapes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of networks that may have these shapes, and options to build them with."""
    for mark, guess in _FAMILIES.items():
        if any(re.fullmatch(mark, name) for name in shapes):
            for name in guess(shapes):
                yield name, {}
    layers = [shape for name, shape in shapes.items() if re.fullmatch(r"hidden\d+\.0\.weight", name)]
    if layers and len(layers[0]) == 2:
        width, inputs = layers[0]
        yield f"mlp_{width}", {"hidden": len(layers), "image_size": math.isqrt(inputs // 3)}


def _wrn(shapes: Shapes) -> list[str]:
    blocks = _count(shapes, r"layer1\.layer\.\d+\.conv1\.weight")
    return [f"wrn_{6 * blocks + 4}_{max(1, shapes['layer1.layer.0.conv1.weight'][0] // 16)}"]


def _resnet(shapes: Shapes) -> list[str]:
    depth, width = 6 * _count(shapes, r"layer1\.\d+\.conv1\.weight") + 2, shapes["layer1.0.conv1.weight"][0] // 16
    wide = f"wideresnet{depth + 2}_{width}"  # has the narrow stem
    return [f"resnet{depth}{f'x{width}' if width > 1 else ''}", f"resnet{depth}_1w1a", wide]


def _vgg(shapes: Shapes) -> list[str]:
    return [f"vgg{3 + sum(len(shape) == 4 for shape in shapes.values())}"]


def _torchvision(*names: str) -> Callable[[Shapes], list[str]]:
    return lambda shapes: [f"torchvision:{name}" for name in names]


# a name that only this family has → the networks of it that the shapes can be of
_FAMILIES: dict[str, Callable[[Shapes], list[str]]] = {
    r"layer1\.layer\.0\.conv1\.weight": _wrn,
    r"layer1\.0\.conv1\.weight": lambda shapes: (
        _resnet(shapes) if "layer3.0.conv1.weight" in shapes and "layer4.0.conv1.weight" not in shapes else []
    ),
    r"layer4\.0\.bn2\.weight": lambda shapes: ["ResNet50"] if "linear.weight" in shapes else ["ResNet18", "ResNet34"],
    r"block4\.0\.weight": _vgg,
    r"blocks\.0\.0\.conv\.0\.weight": lambda shapes: ["MobileNetV2"],
    r"layer1\.0\.bn3\.weight": lambda shapes: [
        "ShuffleV2" if "layer1.0.bn5.weight" in shapes else "ShuffleV1",
    ],
    r"layer4\.0\.bn3\.weight": _torchvision(
        "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
        "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    ),
    r"classifier\.6\.weight": _torchvision(
        "alexnet", *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))
    ),
    r"mlp\.6\.weight": lambda shapes: [f"resnet{depth}_fc3" for depth in (18, 34, 50, 101, 152)],
    r"features\.denseblock1\..+\.weight": _torchvision("densenet121", "densenet161", "densenet169", "densenet201"),
    r"features\.18\.0\.weight": _torchvision("mobilenet_v2"),
    r"stage2\.0\.branch1\.0\.weight": _torchvision(
        "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"
    ),
}  # fmt: skip


def _count(shapes: Shapes, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in shapes)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in state.items() if not name.endswith(_COUNTER)}
