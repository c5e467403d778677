"""How many bytes live at once while a piece of work runs, on any device."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ignite_kd.allocation import give_back_freed_memory, usual_allocation

__all__ = ["PeakMemory", "peak_of", "resident_peak_of"]


def peak_of(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that `work` adds, at its peak, to what lay there before: by the allocator of a GPU, else by operations."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with PeakMemory() as memory:
        work()
    return memory.peak


def resident_peak_of(work: Callable[[], object]) -> int | None:
    """The same by the pages that the process holds, which sees into what is compiled too; None where Linux is not.

    Large blocks have pages of their own meanwhile and give them back, except in memory that was kept from before
    (`allocation.py`): there, holes that freed blocks leave may count too.
    """
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    with usual_allocation():
        work()  # what is kept from before goes its way
        give_back_freed_memory()
        try:
            reset.write_text("5")  # the peak so far is forgotten
        except OSError:
            return None
        before = _kibibytes("VmRSS")
        work()
        return 1024 * (_kibibytes("VmHWM") - before)


def _kibibytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


class PeakMemory(TorchDispatchMode):
    """A `with` block that notes the storages that operations in it make, forward and backward: `peak`, in bytes.

    What a kernel needs for itself while it runs is not seen; what lay there before is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        given = {self._key(t) for t in tree_leaves((arguments, options)) if isinstance(t, torch.Tensor)}
        result = function(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and self._key(tensor) not in given | self._known:
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size

    @staticmethod
    def _key(tensor: torch.Tensor) -> int:
        return tensor.untyped_storage()._cdata
