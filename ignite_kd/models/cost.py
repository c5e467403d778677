"""What a network costs: multiplications for one image, and numbers to train."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["macs", "parameters", "products"]

_BATCH = 2  # batch norms in training refuse a single number a channel


def macs(model: nn.Module, image_size: int = 32) -> int:
    """Multiply-accumulates of all convolutions and linear layers for one image.

    Biases, batch norms, poolings and the products of attention are not counted. The network runs once on the meta
    device, where nothing is computed: weights, statistics, modes and random state stay as they are, and a network on
    any device will do. Networks made by `tap` and torchvision's are counted alike.

    Args:
        model: any network whose `forward` takes the images alone.
        image_size: height and width of the images.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        # with a gradient: torch's attention would else take a fused kernel, whose inside is not seen
        state[name] = torch.empty_like(tensor, device="meta").requires_grad_(isinstance(tensor, nn.Parameter))
    dtype = next((t.dtype for t in state.values() if t.is_floating_point()), torch.float32)
    images = torch.empty(_BATCH, 3, image_size, image_size, device="meta", dtype=dtype)
    with torch.enable_grad(), _Counter() as counter:
        torch.func.functional_call(model, state, (images,))
    return counter.products // _BATCH


def products(work: Callable[[], Any]) -> int:
    """Multiply-accumulates of the convolutions and matrix products that happen while `work` runs."""
    with _Counter() as counter:
        work()
    return counter.products


def parameters(model: nn.Module) -> int:
    """The numbers that are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class _Counter(TorchDispatchMode):
    """Counts the products of convolutions and of matrices with matrices, as torch's kernels see them."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if count := _COUNTS.get(func):
            self.products += count(args, result)
        return result


def _convolution(args: Any, result: Tensor) -> int:
    inputs, weight, transposed = args[0], args[1], args[6]
    # each output is a product of one filter; each input of a transposed convolution is one with all its filter
    return (inputs if transposed else result).numel() * weight[0].numel()


_COUNTS: dict[Any, Callable[[Any, Tensor], int]] = {
    torch.ops.aten.convolution.default: _convolution,
    torch.ops.aten.mm.default: lambda args, result: result.numel() * args[0].shape[1],
    torch.ops.aten.addmm.default: lambda args, result: result.numel() * args[1].shape[1],
}
