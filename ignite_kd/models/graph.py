"""Graphs of networks: how they are recorded, run without values, and read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.feature_extraction import NodePathTracer

__all__ = ["Watcher", "before_relu", "children_until", "norm_of", "output_of", "record_shapes", "trace"]

_RECTIFICATIONS = (nn.ReLU, nn.ReLU6, F.relu, F.relu_, F.relu6, torch.relu, torch.relu_, "relu", "relu_")


class Watcher(fx.Interpreter):
    """Runs a graph and notes each value, and how often it had been written to when it came out."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, garbage_collect_values=False, graph=graph)
        self.values: dict[fx.Node, tuple[Any, int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n] = value, getattr(value, "_version", 0)
        return value


def trace(model: nn.Module) -> tuple[fx.Graph, Mapping[fx.Node, str]]:
    """The graph of the network's forward in its present mode, and the names of its nodes."""
    # what torchvision's create_feature_extractor uses, so that its names of nodes are good here. Not that function
    # itself: it drops unused weights, reorders the others, and gives a node asked for twice only once.
    # A convolution with its norm and activation is no single operation here: `before_relu` lies inside.
    classes = [kind for kind in vars(torchvision.ops).values() if isinstance(kind, type)]
    operations = [kind for kind in classes if not issubclass(kind, nn.Sequential)]
    tracer = NodePathTracer(autowrap_modules=(math, torchvision.ops), leaf_modules=operations)
    return tracer.trace(model), tracer.node_to_qualname


def record_shapes(model: nn.Module, image_size: int) -> tuple[fx.Graph, Mapping[fx.Node, str], Mapping[fx.Node, Any]]:
    """The graph of a network on the meta device, the names of its nodes, and their values without values."""
    graph, names = trace(model)
    watcher = Watcher(model, graph)
    with torch.no_grad():
        watcher.run(torch.empty(2, 3, image_size, image_size, device="meta"))
    return graph, names, {node: value for node, (value, _) in watcher.values.items()}


def before_relu(shell: nn.Module, node: fx.Node) -> fx.Node:
    """The input of a rectification; any other node itself."""
    kind = type(shell.get_submodule(str(node.target))) if node.op == "call_module" else node.target
    return node.all_input_nodes[0] if kind in _RECTIFICATIONS else node


def norm_of(shell: nn.Module, graph: fx.Graph, node: fx.Node, channels: int) -> str | None:
    """The batch norm whose output becomes the node's `before_relu` with nothing learned in between."""
    depth: dict[fx.Node, int] = {}
    for each in graph.nodes:
        depth[each] = 1 + max((depth[before] for before in each.all_input_nodes), default=0)
    node = before_relu(shell, node)
    while True:
        if node.op == "call_module":
            module = shell.get_submodule(str(node.target))
            if isinstance(module, _BatchNorm):
                return str(node.target) if module.num_features == channels else None
            if next(module.parameters(), None) is not None:
                return None
        if not node.all_input_nodes or any(before.op == "get_attr" for before in node.all_input_nodes):
            return None
        node = max(node.all_input_nodes, key=lambda before: depth[before])


def children_until(shell: nn.Module, graph: fx.Graph, stages: list[fx.Node]) -> tuple[str, ...]:
    """The children of the network that run until the last of the stages."""
    used: set[str] = set()
    open_stages = set(stages)
    for node in graph.nodes:
        if not open_stages:
            break
        if node.op in ("call_module", "get_attr"):
            used.add(str(node.target).partition(".")[0])
        open_stages.discard(node)
    return tuple(name for name, _ in shell.named_children() if name in used)


def output_of(graph: fx.Graph) -> fx.Node:
    """The node that gives out what the graph computes."""
    return next(node for node in reversed(graph.nodes) if node.op == "output")
