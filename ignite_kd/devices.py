"""Devices and number formats by the words a command line uses."""

from __future__ import annotations

import platform
import warnings
from pathlib import Path

import torch

from ignite_kd.errors import UserError

__all__ = ["name_of", "native_bf16", "pick_device", "prepare_precision"]


def pick_device(word: str = "auto") -> torch.device:
    """`0`, `cuda:1`, `cpu`, `mps`, or `auto`: a GPU if there is one."""
    if word in ("", "auto"):
        word = "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(f"cuda:{word}" if word.isdigit() else word)
    except RuntimeError:
        raise UserError(f"unknown device '{word}'; possible: a GPU's number, cuda:N, mps, cpu, auto.") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(
                f"--device {word} was asked for, but {_gpus(count)}; leave --device out or say --device cpu."
            )
        torch.backends.cudnn.deterministic = True  # a resumed run must give the same bits
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(
            "--device mps was asked for, but this machine has none; leave --device out or say --device cpu."
        )
    elif device.type not in ("cpu", "mps"):
        raise UserError(f"unknown device '{word}'; possible: a GPU's number, cuda:N, mps, cpu, auto.")
    return device


def prepare_precision(word: str, device: torch.device) -> str:
    """What an engine is told for `--precision`; TensorFloat-32 is a switch of the whole process."""
    if word == "bf16" and not native_bf16(device):
        warnings.warn(
            f"this {device.type} has no bfloat16 products and imitates them, up to a hundred times slower than "
            "--precision fp32.",
            stacklevel=2,
        )
    if word != "tf32":
        return word
    if device.type != "cuda":
        raise UserError(
            f"--precision tf32 is a format of NVIDIA GPUs, but the device is {device.type}; use fp32 or bf16."
        )
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    return "fp32"


def name_of(device: torch.device) -> str:
    """What a person calls it: the GPU's name, or the processor's with the threads that torch uses of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' * (threads > 1)}"


def machine_of(name: str) -> str:
    """A device's name without the number of threads, which decides no image."""
    return name.partition(", ")[0]


def native_bf16(device: torch.device) -> bool:
    """Whether bfloat16 products have instructions of their own; without them one of 2048³ takes minutes."""
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type != "cpu" or any(getattr(torch.cpu, name, bool)() for name in asked)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpus(count: int) -> str:
    if not count:
        return "PyTorch sees no GPU here"
    return f"this machine has only {count} GPU{'s' * (count > 1)}, counted from 0"
