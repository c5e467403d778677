"""Convolutions of 3 × 3 with a quarter of the products, for CPUs: the sums are in `winograd.cpp`."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Winograd", "compiler", "with_fewer_products"]

_CHANNELS = 16  # in multiples of the longest vector of a processor, in float32


class Winograd(TorchFunctionMode):
    """Within it, convolutions of float32 maps on a CPU by Winograd's minimal filtering, where that pays.

    That is where kernels are 3 × 3 with stride 1 and padding 1, channels come in sixteens, maps fill tiles of 4 × 4 so
    well that products are at least halved, and weights are not more than there are tiles to use them on. The results
    differ from plain sums by roundings, some 1e-5 of the largest.

    Lavin, Gray: "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.conv2d:
            # `input` is its name for the maps
            named = {"x" if name == "input" else name: value for name, value in kwargs.items()}
            if _fits(*args, **named):
                return _biased(*args, **named)
        return func(*args, **kwargs)


def with_fewer_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function within `Winograd`; as it is, with a warning, where the sums cannot be compiled."""
    if not _can_be_compiled():
        return function

    def inside(*arguments: Any) -> Any:
        with Winograd():
            return function(*arguments)

    return inside


def compiler() -> str | None:
    """The C++ compiler of this machine, if it has one."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((name for name in names if name and shutil.which(name)), None)


def _fits(
    x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> bool:
    once = (1, (1, 1), [1, 1])
    if x.dim() != 4 or tuple(weight.shape[2:]) != (3, 3) or groups != 1:
        return False
    if x.shape[1] != weight.shape[1] or not (
        bias is None or (bias.shape == weight.shape[:1] and bias.dtype == x.dtype)
    ):
        return False  # torch's own sum says what is wrong
    (height, width), (out, channels) = x.shape[2:], weight.shape[:2]
    tiles = -(-height // 4) * -(-width // 4)
    return (
        all(value in once for value in (stride, padding, dilation))
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and channels % _CHANNELS == out % _CHANNELS == 0
        and 2 * 36 * tiles <= 9 * height * width
        and x.shape[0] * tiles * _CHANNELS >= max(channels, out)  # else transforming the weights costs more
    )


def _biased(x: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    y = _conv(x, weight)
    return y if bias is None else y + bias[:, None, None]


@torch.library.custom_op("ignite_kd::conv3x3", mutates_args=())
def _conv(x: Tensor, weight: Tensor) -> Tensor:
    return _run(x, weight, turned=False)


@torch.library.custom_op("ignite_kd::conv3x3_input", mutates_args=())
def _input_gradient(dy: Tensor, weight: Tensor) -> Tensor:
    return _run(dy, weight, turned=True)


@torch.library.custom_op("ignite_kd::conv3x3_weight", mutates_args=())
def _weight_gradient(x: Tensor, dy: Tensor, weight: Tensor) -> Tensor:
    x, dy, gradient = _channels_last(x), _channels_last(dy), torch.empty_like(weight)
    _call("conv_weight", x, dy, gradient, _strides(gradient), sizes=(*_sizes(x), dy.shape[1]))
    return gradient


def _run(x: Tensor, weight: Tensor, turned: bool) -> Tensor:
    x = _channels_last(x)
    y = _map_like(x, weight.shape[1 if turned else 0])
    _call("conv", x, weight, _strides(weight), ctypes.c_int(turned), y, sizes=(*_sizes(x), y.shape[1]))
    return y


@_conv.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return _map_like(x, weight.shape[0])


@_input_gradient.register_fake
def _(dy: Tensor, weight: Tensor) -> Tensor:
    return _map_like(dy, weight.shape[1])


@_weight_gradient.register_fake
def _(x: Tensor, dy: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(weight)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    dx = _input_gradient(dy, weight) if ctx.needs_input_grad[0] else None
    return dx, _weight_gradient(x, dy, weight) if ctx.needs_input_grad[1] else None


_conv.register_autograd(_backward, setup_context=_keep)


def _map_like(x: Tensor, channels: int) -> Tensor:
    n, _, h, w = x.shape
    return torch.empty((n, channels, h, w), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    n, channels, height, width = x.shape
    return n, height, width, channels


def _strides(weight: Tensor) -> Any:
    return (ctypes.c_int64 * 4)(*weight.stride())


def _call(name: str, *arguments: Any, sizes: tuple[int, ...]) -> None:
    plain = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else a for a in arguments]
    if getattr(_sums(), name)(*plain, *map(ctypes.c_int64, sizes)):
        raise MemoryError(f"no memory for a convolution of {sizes}")


@functools.cache
def _can_be_compiled() -> bool:
    """Asked, and warned of, once."""
    try:
        _sums()
    except (OSError, subprocess.SubprocessError) as error:
        reason = ((getattr(error, "stderr", None) or "").strip() or str(error)).splitlines()[0]
        warnings.warn(f"convolutions of 3x3 run as they are: {reason}", stacklevel=3)
        return False
    return True


@functools.cache
def _sums() -> ctypes.CDLL:
    """`winograd.cpp`, compiled for this processor in a second, anew in each process: nothing stays on the disk."""
    source = Path(__file__).with_suffix(".cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "winograd.so"
        command = [
            str(compiler()),
            "-std=c++17",  # not yet the default of g++ 10
            "-O3",
            "-march=native",
            "-fopenmp",
            "-shared",
            "-fPIC",
            "-o",
            str(library),
            str(source),
        ]
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")
        return ctypes.CDLL(str(library))
