"""Anybody's network, with features by the names of its modules."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from ignite_kd.errors import UserError, unknown
from ignite_kd.representation import Features, Representation

__all__ = ["Tapped", "tap"]


def tap(model: nn.Module, stages: Sequence[str] | Mapping[str, str], image_size: int = 32) -> Tapped:
    """`model` with `represent` and `channels`, e.g. `tap(torchvision.models.resnet18(), ["layer1", "layer2"])`.

    Args:
        model: any classifier that torch.fx can trace. It is not copied: both train the same parameters.
        stages: names of its modules (or of nodes of its graph), each the last thing computed there; or a mapping from
            such names to the names that the features shall have.
        image_size: of the images, from which the shapes follow.
    """
    return Tapped(model, stages, image_size)


class Tapped(nn.Module):
    """Has the parameters, the buffers and the state dict of the network that it taps; see `tap`.

    torchvision's feature extraction traces the network once for training and once for evaluation. `pooled` is what the
    last linear layer takes, where the network ends in one. Channels come from a copy on PyTorch's meta device, which
    has shapes and no numbers: nothing is computed, so no batch norm moves and no random number is drawn.
    """

    def __init__(self, model: nn.Module, stages: Sequence[str] | Mapping[str, str], image_size: int = 32) -> None:
        super().__init__()
        self.name = type(model).__name__
        self._parameters, self._buffers, self._modules = model._parameters, model._buffers, model._modules
        self.training = model.training
        named = dict(stages) if isinstance(stages, Mapping) else {stage: stage for stage in stages}
        # in a tuple they are no children: the modules in them are this module's own already
        self._graphs = _trace(model, named, self.name)
        shapes = _shapes(self._graphs[False], image_size, self.name)
        self.num_classes = shapes.pop("logits")[1]
        pooled = shapes.pop("pooled", None)
        self.channels = {stage: shape[1] for stage, shape in shapes.items()}
        if pooled is not None:
            self.channels["pooled"] = pooled[1]

    def forward(self, images: Tensor) -> Tensor:
        return self.represent(images).logits

    def represent(self, images: Tensor) -> Representation:
        """Logits, the tapped features, and the pooled vector of a network that has one."""
        found = self._graphs[self.training](images)
        logits, pooled = found.pop("logits"), found.pop("pooled", None)
        return Representation(logits, Features(found, self.name), Features(owner=f"tapped {self.name}"), pooled)

    def _apply(self, fn: Any, recurse: bool = True) -> Tapped:
        super()._apply(fn, recurse)
        for graph in self._graphs:  # buffers of the network's root are replaced when they move, the graphs hold the old
            graph._buffers.update({name: self._buffers[name] for name in graph._buffers if name in self._buffers})
        return self


def _trace(model: nn.Module, stages: dict[str, str], name: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """The network as (evaluation, training) graphs that give a dictionary of features, `logits` and `pooled`."""
    try:
        training, evaluation = get_graph_node_names(model, suppress_diff_warning=True)
    except Exception as error:  # fx raises whatever the network's code raises when it meets a proxy
        raise UserError(
            f"{name} cannot be traced ({' '.join(str(error).split())[:120]}); give it a method represent(images) and "
            "channels instead, as in ignite_kd/models/wrn.py."
        ) from None
    for stage in stages:
        if not any(node == stage or node.startswith(f"{stage}.") for node in evaluation):
            raise unknown(f"stage of {name}", stage, [n for n, _ in model.named_modules() if n] or evaluation)
    taken = [label for label in stages.values() if label in ("logits", "pooled")]
    if taken or len(set(stages.values())) < len(stages):
        raise UserError(f"stages of {name} need names of their own, other than logits and pooled; {stages} was given.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extractor = create_feature_extractor(
            model,
            train_return_nodes=stages | {training[-1]: "logits"},
            eval_return_nodes=stages | {evaluation[-1]: "logits"},
            suppress_diff_warning=True,
        )
    return _with_pooled(extractor, extractor.eval_graph), _with_pooled(extractor, extractor.train_graph)


def _with_pooled(extractor: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
    output = next(node for node in graph.nodes if node.op == "output")
    given: dict[str, fx.Node] = dict(output.args[0])
    last = given["logits"]
    if last.op == "call_module" and isinstance(extractor.get_submodule(str(last.target)), nn.Linear):
        given["pooled"] = last.args[0]  # type: ignore[assignment]
    output.args = (given,)
    return fx.GraphModule(extractor, graph)


def _shapes(graph: fx.GraphModule, image_size: int, name: str) -> dict[str, torch.Size]:
    shadow = copy.deepcopy(graph).to("meta").eval()
    try:
        found = shadow(torch.empty(1, 3, image_size, image_size, device="meta"))
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{name} does not take images of 3×{image_size}×{image_size} ({reason}); set image_size."
        ) from None
    if found["logits"].dim() != 2:
        raise UserError(f"{name} should end in logits of N × classes, but gives {tuple(found['logits'].shape)}.")
    return {stage: feature.shape for stage, feature in found.items()}
