"""What torch.compile takes over in a training: the teacher, the student's training passes and the heads."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.models.cost import macs
from ignite_kd.winograd import compiler, with_fewer_products

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # else it tells that there is no CUDA

__all__ = ["check_compiler", "compile_student", "compile_teacher", "compiling_pays"]

# Additions and multiplications of a training for which compiling is a small part: some three minutes on two cores, of
# which compiling saves about half and costs 10 to 35 seconds.
_WORTH_COMPILING = 2e13
_PARTS = 256  # networks and heads of a class: as many as torch allows in all


class _Compiled:
    """A function of batches that runs compiled for batches of one size, and as it is for the others.

    A second size, an epoch's last batch, would cost a second compilation of a minute and saves seconds. What cannot be
    compiled runs as it is, with a warning.
    """

    def __init__(
        self, function: Callable[..., Any], device: torch.device, fits: Callable[..., bool], **settings: Any
    ) -> None:
        # torch counts all functions that come through here as one, and would run the ninth kind of part as it is
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _PARTS)
        self._plain, self._fits = function, fits
        fast = with_fewer_products(function) if device.type == "cpu" else function
        self._fast: Callable[..., Any] | None = torch.compile(fast, dynamic=False, **settings)

    def __call__(self, *arguments: Any) -> Any:
        if self._fast is None or not self._fits(*arguments):
            return self._plain(*arguments)
        try:
            return self._fast(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"a part cannot be compiled and runs as it is: {reason}", stacklevel=2)
            self._fast = None
            return self._plain(*arguments)


def compile_teacher(teacher: TeacherEngine, batch_size: int) -> None:
    """The forward pass of a frozen network, for batches of this size."""
    # on a CPU a frozen network's weights are laid out for its products once, which saves a sixth of its time
    frozen = teacher.device.type == "cpu" and not teacher.model.training
    settings = {"options": {"freezing": True}} if frozen else {}
    teacher.network = _Compiled(teacher.network, teacher.device, lambda images: len(images) == batch_size, **settings)


def compile_student(student: StudentEngine, batch_size: int) -> None:
    """The passes of the student and of the heads that are attached to it, for batches of this size."""
    student.network = _Compiled(student.network, student.device, lambda images: len(images) == batch_size)
    for name, head in student.heads.items():
        if not getattr(head, "remembers", False):  # writing to a memory would break the graph where it could gain
            student.terms[name] = _Compiled(
                head, student.device, lambda own, shown, batch: len(batch.labels) == batch_size
            )


def compiling_pays(
    device: torch.device, student: nn.Module, teacher: nn.Module | None, images: int, image_size: int
) -> bool:
    """Whether a training on so many images is longer than compiling it takes, where that was measured: on CPUs."""
    if device.type != "cpu" or _compiler_is_missing(device):
        return False
    networks = [(3, student)] + ([(1, teacher)] if teacher is not None else [])
    # each weight meets each pixel once at the most, so a short training need not be counted, which takes half a second
    most = sum(passes * sum(p.numel() for p in net.parameters()) * image_size**2 for passes, net in networks)
    if 2 * most * images <= _WORTH_COMPILING:
        return False
    return 2 * images * sum(passes * macs(net, image_size) for passes, net in networks) > _WORTH_COMPILING


def _compiler_is_missing(device: torch.device) -> str | None:
    """What torch.compile needs here and does not find; None where it has all."""
    if device.type == "cuda":
        return None if importlib.util.find_spec("triton") else "the package triton"
    return None if compiler() else "a C++ compiler (g++ or clang++)"


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where that cannot work."""
    missing = _compiler_is_missing(device)
    if missing:
        raise UserError(f"--compile on needs {missing}, which is not found; install it, or say --compile off.")
