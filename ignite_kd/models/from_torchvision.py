"""Any classifier of torchvision by its name, untrained, with stages that are found by themselves."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torchvision
from torch import Tensor, fx, nn

from ignite_kd.errors import UserError, unknown
from ignite_kd.models.graph import record_shapes
from ignite_kd.models.tap import tap

__all__ = ["from_torchvision", "has", "stages_of"]

_PREFIX = "torchvision:"
_IMAGE_SIZE = 224  # of the images for which these networks are made
_WITHOUT_AUXILIARY = ("googlenet", "inception_v3")


def from_torchvision(name: str, num_classes: int = 1000, image_size: int | None = None, **options: Any) -> nn.Module:
    """torchvision's classifier `name` with fresh weights (nothing is downloaded), through `tap`.

    Its state dict is torchvision's, so that weights of torchvision load. Stages are called `stem`, `layer1`, …, one for
    every size that maps have on the way, e.g. for resnets torchvision's own layer1 … layer4 (see `stages_of`);
    networks without maps have `pooled` alone. `strides` are those for images of 224×224 (inception_v3: 299×299). Most
    networks take any image size. The auxiliary classifiers of googlenet and inception_v3 are left out.

    Args:
        name: as `torchvision.models.list_models(module=torchvision.models)` has it, e.g. "resnet18".
        num_classes: the number of logits.
        image_size: height and width of the images, for networks of one input size (vit_b_16, maxvit_t, …).
        options: what torchvision's builder of the network takes too, e.g. `dropout`.
    """
    if not has(name):
        raise unknown("model", _PREFIX + name, [_PREFIX + known for known in _names()])
    if num_classes < 1:
        raise UserError(f"a network needs at least 1 class, not {num_classes}")
    size = 299 if name == "inception_v3" else _IMAGE_SIZE
    options["num_classes"] = num_classes
    if name in _WITHOUT_AUXILIARY:
        options |= {"aux_logits": False, "init_weights": True}
    if image_size and name.startswith("vit_"):
        size = options["image_size"] = image_size
    if image_size and name.startswith("maxvit_"):
        size = image_size
        options["input_size"] = (size, size)
    model = _get(name, options)
    shell = copy.deepcopy(model).to("meta")
    vars(model)["name"] = _PREFIX + name  # which the tap takes over
    return tap(model, {place: stage for stage, place in stages_of(shell, size).items()}, image_size=size)


def has(name: str) -> bool:
    """Whether torchvision has a classifier of that name."""
    return name in _names()


def stages_of(model: nn.Module, image_size: int = _IMAGE_SIZE) -> dict[str, str]:
    """Stage → the place in the network that gives it, for networks whose maps get smaller on the way.

    A stage is given out by the last operation of a map's size through which everything passes: neither an operation
    within a branch, nor one beside which a shortcut leads. Of several such operations those that end a larger part of
    the network are preferred: the end of a block to the end of a convolution within the next block. Sizes that come
    from pooling alone are no stages.
    """
    graph, names, values = record_shapes(model.eval(), image_size)
    nodes = list(graph.nodes)
    ends: dict[str, int] = {}  # of a module or an operation: its last node
    for index, node in enumerate(nodes):
        parts = names.get(node, "").split(".")
        for level in range(1, len(parts) + 1):
            ends[".".join(parts[:level])] = index
    chosen: dict[int, tuple[int, int, str]] = {}  # size of the map → level, index, place
    reach = 0  # how far the values lead that were computed so far
    for index, node in enumerate(nodes):
        value = values.get(node)
        shape = value.shape if isinstance(value, Tensor) and value.dim() == 4 else (0, 0)
        side = shape[-1]
        if reach <= index and node.op != "placeholder" and node in names and _is_map(shape, image_size):
            parts = names[node].split(".")
            places = [".".join(parts[:level]) for level in range(1, len(parts) + 1)]
            level, place = next((level, place) for level, place in enumerate(places) if ends[place] == index)
            if side not in chosen or level <= chosen[side][0]:
                chosen[side] = level, index, place
        if _carries(value):
            users = [nodes.index(user) for user in node.users if _carries(values.get(user))]
            reach = max([reach, *users])
    stages: dict[str, str] = {}
    last = 0
    for _side, (_, index, place) in sorted(chosen.items(), reverse=True):
        if index > last and any(_learns(model, node) for node in nodes[last + 1 : index + 1]):
            stages[f"layer{len(stages)}" if stages else "stem"] = place
            last = index
    return stages


def _get(name: str, options: dict[str, Any]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about defaults of weights' initialisation
        return torchvision.models.get_model(name, weights=None, **options)


def _names() -> list[str]:
    return torchvision.models.list_models(module=torchvision.models)


def _is_map(shape: Sequence[int], image_size: int) -> bool:
    """Neither swin's maps, whose channels come last, nor windows of attention, which have any size."""
    *_, height, width = shape
    times = image_size / max(width, 1)
    return height == width > 1 and abs(times - round(times)) < 0.1 * times


def _carries(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, (tuple, list)) and any(map(_carries, value)))


def _learns(model: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return next(model.get_submodule(str(node.target)).parameters(), None) is not None
    return node.op == "get_attr"
