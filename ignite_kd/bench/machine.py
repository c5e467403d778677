"""What this machine can do: products of matrices in a second, in the number formats it has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ignite_kd.bench.timing import alternate, summary
from ignite_kd.devices import name_of, native_bf16
from ignite_kd.handlers import versions

__all__ = ["describe", "formats", "help_seconds", "number_format", "products"]


def describe(device: torch.device) -> dict[str, Any]:
    """The machine and the versions, for whoever reads the numbers later."""
    return {"device": str(device), "name": name_of(device), "threads": torch.get_num_threads(), "versions": versions()}


def formats(device: torch.device) -> list[str]:
    """The number formats whose products are worth measuring here."""
    tf32 = ["tf32"] if device.type == "cuda" else []
    return ["fp32", *tf32, *(["bf16"] if native_bf16(device) else [])]


def number_format(precision: str, device: torch.device) -> str:
    """In which format a network's convolutions are computed: torch gives those of a GPU TensorFloat-32 by default."""
    if precision == "fp32" and device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        return "tf32"
    return precision


def products(device: torch.device, kind: str = "fp32", size: int = 2048) -> tuple[Callable[[], object], int]:
    """Products of `size` × `size` matrices in a number format, and their additions and multiplications."""
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    count = 20 if device.type == "cuda" else 1  # one product of a GPU is over before its clock is read

    def work() -> None:
        with _tf32(kind == "tf32"):
            for _ in range(count):
                left @ right

    return work, 2 * size**3 * count


def help_seconds(times: int = 5) -> float:
    """How long `train_with_transfer.py --help` takes, process and all."""
    root = Path(__file__).resolve().parents[2]
    script = root / "train_with_transfer.py"
    words = [str(script)] if script.exists() else ["-m", "ignite_kd", "train-with-transfer"]
    command = [sys.executable, *words, "--help"]
    run = lambda: subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    return summary(alternate({"help": run}, times, "cpu")["help"]).median


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
