"""Features by name out of anybody's network, without a change to its code."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from ignite_kd.errors import UserError, unknown
from ignite_kd.models.graph import Watcher, before_relu, children_until, norm_of, output_of, trace
from ignite_kd.representation import Features, Representation

__all__ = ["tap"]

_REMEDY = "give it a method represent(images) -> Representation instead of a tap."


def tap(
    model: nn.Module,
    stages: str | Sequence[str] | Mapping[str, str] = (),
    num_classes: int | None = None,
    image_size: int = 32,
) -> nn.Module:
    """The same network with `represent(images)` and the declarations of `Network`, as heads and engines want it.

    It shares every module, parameter and buffer with `model`, under the same names: state dicts, optimizers and
    `model` itself stay as they are, and training one trains the other. The code of its `forward` is recorded by
    torch.fx, once for training and once for evaluation (functions called in it, and hooks on modules that contain
    others, are not seen again).

    `features` are what the stages give out, their channels being the second dimension. `before_relu` is the input of
    a stage's last operation where that is a ReLU or ReLU6, and the stage itself where it does not end in one. `pooled`
    is what the classifier sees, where the network ends in a linear layer. What a later in-place operation overwrites
    (`nn.ReLU(inplace=True)`) is copied before.

    `channels` and `strides` (rounded) come from a copy without values, on the meta device: nothing is computed, so no
    statistics and no generator can move. `norms` names the batch norm whose output becomes a stage's `before_relu`
    without another layer in between; of the two terms of a residual sum it is looked for in the one with more
    operations, the branch. `feature_modules` are the children that run until the last stage.

    Args:
        model: any network whose `forward` takes the images alone and gives out the logits.
        stages: what to give out: names of modules, or of single operations as torchvision's `get_graph_node_names`
            lists them; or a mapping from such names to names of stages. A stage called `pooled` takes that role.
        num_classes: the number of logits; it is found, and checked where given.
        image_size: height and width of the images for which channels and strides are found.
    """
    return _Tap(model, _by_stage(stages), num_classes, image_size)


class _Tap(nn.Module):
    def __init__(self, model: nn.Module, places: dict[str, str], num_classes: int | None, image_size: int) -> None:
        super().__init__()
        name = getattr(model, "name", None)
        self.name = name if isinstance(name, str) else type(model).__name__
        shell, recordings = _record(model, places, self.name)
        for constant, value in vars(shell).items():
            if isinstance(value, Tensor):  # written in the code of `forward`
                setattr(self, constant, value)
        shapes = _finish(shell, recordings, image_size, self.name)
        graph, nodes = recordings[False]
        inner = {stage: node for stage, node in nodes.items() if stage not in ("logits", "pooled")}
        self.num_classes = shapes["logits"][1]
        if num_classes not in (None, self.num_classes):
            raise UserError(f"{self.name} gives {self.num_classes} logits, not {num_classes}; change its last layer.")
        self.channels = {stage: shape[1] for stage, shape in shapes.items() if stage not in ("logits", "pooled")}
        if "pooled" in shapes:
            self.channels["pooled"] = math.prod(shapes["pooled"][1:])
        self.strides = {stage: round(image_size / shapes[stage][-1]) for stage in inner if len(shapes[stage]) == 4}
        found = {stage: norm_of(shell, graph, node, shapes[stage][1]) for stage, node in inner.items()}
        self.norms = {stage: norm for stage, norm in found.items() if norm}
        self.feature_modules = children_until(shell, graph, list(inner.values()))
        # the recorded code runs with this module as its `self`, so that there is no copy of anything
        self._code = {training: type(fx.GraphModule(shell, r.graph)).forward for training, r in recordings.items()}
        self._recipe = (model, {place: stage for stage, place in places.items()}, num_classes, image_size)
        self._parameters, self._buffers, self._modules = model._parameters, model._buffers, model._modules
        self._non_persistent_buffers_set = model._non_persistent_buffers_set
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        return self._code[self.training](self, images)["logits"]

    def represent(self, images: Tensor) -> Representation:
        """Logits, the stages' outputs, and what the classifier sees."""
        found = self._code[self.training](self, images)
        features, before = Features(found["features"], self.name), Features(found["before_relu"], self.name)
        pooled = found["pooled"].flatten(1) if "pooled" in found else None
        return Representation(found["logits"], features, before, pooled)

    def train(self, mode: bool = True) -> _Tap:
        self._recipe[0].training = mode  # the rest of the model is shared
        return super().train(mode)

    def __reduce__(self) -> tuple[Callable[..., nn.Module], tuple[Any, ...]]:
        return tap, self._recipe  # copied and stored as the model and what to take from it


class _Recording(NamedTuple):
    graph: fx.Graph
    nodes: dict[str, fx.Node]  # in the order of the graph; beside the stages, `logits` and `pooled`


def _by_stage(stages: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Stage → place in the module."""
    if isinstance(stages, str):
        stages = [stages]
    pairs = list(stages.items()) if isinstance(stages, Mapping) else [(place, place) for place in stages]
    places = {stage: place for place, stage in pairs}
    if "logits" in places or len(places) < len(pairs):
        raise UserError(f"each stage needs a name of its own other than logits, but they are {[s for _, s in pairs]}.")
    return places


def _record(model: nn.Module, places: dict[str, str], name: str) -> tuple[nn.Module, dict[bool, _Recording]]:
    """The graphs of training and evaluation, and the copy of the model that they were recorded on."""
    recordings = {}
    with torch.random.fork_rng(devices=[]):
        generator = torch.get_rng_state()
        try:
            shell = copy.deepcopy(model)
            for training in (True, False):
                recordings[training] = trace(shell.train(training))
        except Exception as error:  # fx runs the forward of anybody
            first = str(error).strip().partition("\n")[0]
            raise UserError(f"torch.fx cannot record the forward of {name} ({first}); {_REMEDY}") from None
        moved = not torch.equal(generator, torch.get_rng_state())
    buffers = dict(model.named_buffers())
    if moved or not all(buffer.is_meta or torch.equal(buffer, buffers[key]) for key, buffer in shell.named_buffers()):
        raise UserError(f"a recording of {name} would freeze its random numbers, or what it counts; {_REMEDY}")
    for graph, _ in recordings.values():
        if not isinstance(output_of(graph).args[0], fx.Node):
            raise UserError(f"the forward of {name} gives out more than the logits; {_REMEDY}")
    return shell, {
        training: _Recording(g, _find(shell, g, names, places)) for training, (g, names) in recordings.items()
    }


def _find(
    shell: nn.Module, graph: fx.Graph, names: Mapping[fx.Node, str], places: dict[str, str]
) -> dict[str, fx.Node]:
    """The node of each stage: the last one that belongs to its place."""
    found: dict[str, fx.Node] = {}
    for stage, place in places.items():
        nodes = [node for node, name in names.items() if name == place or name.startswith(f"{place}.")]
        if not nodes:
            first_level = [name.partition(".")[0] for name in names.values()]
            inside = [".".join(name.split(".")[: place.count(".") + 1]) for name in names.values()]
            nearest = difflib.get_close_matches(place, [*inside, *names.values()], n=1, cutoff=0.5)
            raise unknown("stage", place, dict.fromkeys([*first_level, *nearest]))
        found[stage] = nodes[-1]
    last: Any = output_of(graph).args[0]
    if last.op == "call_module" and isinstance(shell.get_submodule(last.target), nn.Linear):
        found.setdefault("pooled", last.all_input_nodes[0])
    order = list(graph.nodes)
    return dict(sorted(found.items(), key=lambda item: order.index(item[1]))) | {"logits": last}


def _finish(
    shell: nn.Module, recordings: dict[bool, _Recording], image_size: int, name: str
) -> dict[str, tuple[int, ...]]:
    """Let the graphs give out their nodes, and return the shapes of those; `shell` loses its values."""
    for module in shell.to("meta").modules():
        module._forward_hooks.clear()  # somebody's, who would wonder at tensors without values
        module._forward_pre_hooks.clear()
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor):  # neither parameter nor buffer
                setattr(module, attribute, value.to("meta"))
    shapes: dict[str, tuple[int, ...]] = {}
    for training, (graph, nodes) in recordings.items():
        watcher = Watcher(shell.train(training), graph)
        try:
            with torch.no_grad():
                watcher.run(torch.empty(2, 3, image_size, image_size, device="meta"))
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            size = f"{image_size}×{image_size}"
            raise UserError(f"{name} cannot take images of 3×{size} ({first}); give tap its image_size.") from None
        copies: dict[fx.Node, fx.Node] = {}
        given: dict[str, Any] = {"features": {}, "before_relu": {}}
        for stage, node in nodes.items():
            value = watcher.values[node][0]
            if not isinstance(value, Tensor) or value.dim() < 2:
                remedy = _REMEDY if stage == "logits" else "take another place."
                raise UserError(f"'{stage}' of {name} is no tensor of images × channels; {remedy}")
            shapes[stage] = tuple(value.shape)
            if stage in ("logits", "pooled"):
                given[stage] = _kept(graph, node, watcher, copies)
            else:
                given["features"][stage] = _kept(graph, node, watcher, copies)
                given["before_relu"][stage] = _kept(graph, before_relu(shell, node), watcher, copies)
        output_of(graph).args = (given,)
    return shapes


def _kept(graph: fx.Graph, node: fx.Node, watcher: Watcher, copies: dict[fx.Node, fx.Node]) -> fx.Node:
    """The node, or its copy where something later overwrites it."""
    value, version = watcher.values[node]
    if value._version == version:
        return node
    if node not in copies:
        with graph.inserting_after(node):
            copies[node] = graph.call_method("clone", (node,))
    return copies[node]
