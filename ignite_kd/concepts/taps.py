"""One layer of any network as a function of the images, without what comes after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ignite_kd.engines import evaluating
from ignite_kd.errors import UserError, unknown
from ignite_kd.models.graph import trace
from ignite_kd.representation import represent

__all__ = ["frozen", "layers", "tapped"]


def layers(network: nn.Module) -> list[str]:
    """What `tapped` takes: the stages of the network's representation, then its modules."""
    stages = [*getattr(network, "channels", ()), "logits"]
    return [*stages, *(name for name, _ in network.named_modules() if name and name not in stages)]


def tapped(network: nn.Module, layer: str, rectified: bool = True) -> Callable[[Tensor], Tensor]:
    """images → the layer's output, rectified as published; the rest of the network is not computed where that works.

    A layer is a stage of `network.represent` (`layer2`, `pooled`, `logits`) or the name of a module, of which the
    first output is taken where it runs several times. Call it in a `frozen(network)` block; weights may change.
    """
    stages = [*getattr(network, "channels", ()), "logits"]
    if layer in stages:
        read = _stage(network, layer)
    elif layer in layers(network):
        read = _module(network, layer)
    else:
        raise unknown("layer", layer, layers(network))
    return (lambda images: F.relu(read(images))) if rectified else read


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Eval mode and no gradient of weights inside, and products of full precision; afterwards all is as it was."""
    asking = [parameter for parameter in network.parameters() if parameter.requires_grad]
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    with evaluating(network):
        network.requires_grad_(False)
        convolutions.allow_tf32 = products.allow_tf32 = False
        try:
            yield
        finally:
            convolutions.allow_tf32, products.allow_tf32 = before
            for parameter in asking:
                parameter.requires_grad_()


class _Stage(nn.Module):
    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, images: Tensor) -> Tensor:
        return represent(self.network, images).stage(self.layer)


def _stage(network: nn.Module, layer: str) -> Callable[[Tensor], Tensor]:
    """A recording of the way to the stage; the whole network where it cannot be recorded (it asks for sizes, say)."""
    whole = _Stage(network, layer)
    with evaluating(network), torch.random.fork_rng(devices=[]):
        try:
            graph, _ = trace(whole.eval())
            short = fx.GraphModule(whole, graph)
            short.graph.eliminate_dead_code()
            short.recompile()
        except Exception:  # fx runs the forward of anybody
            return whole
    checked = False

    def read(images: Tensor) -> Tensor:
        nonlocal checked, short
        if not checked:  # a recording knows nothing of what depends on the images
            with torch.no_grad():
                if not torch.equal(short(images[:2]), whole(images[:2])):
                    short = cast(Any, whole)
            checked = True
        return short(images)

    return read


class _ReachedError(Exception):
    """Carries a module's output out of the forward pass, past everything that comes after it."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def _module(network: nn.Module, layer: str) -> Callable[[Tensor], Tensor]:
    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        raise _ReachedError(output)

    def read(images: Tensor) -> Tensor:
        handle = network.get_submodule(layer).register_forward_hook(leave)
        try:
            network(images)
        except _ReachedError as reached:
            if isinstance(reached.output, Tensor):
                return reached.output
            raise UserError(
                f"'{layer}' gives no tensor but a {type(reached.output).__name__}; name a layer in it."
            ) from None
        finally:
            handle.remove()
        raise UserError(f"'{layer}' only holds other modules, or never runs; name one of those in it.")

    return read
