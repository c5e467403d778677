"""Memory that the C library would give back to the system after each step, and fetch again in the next."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["give_back_freed_memory", "keep_freed_memory", "usual_allocation"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names in glibc's malloc.h
_LARGE = 2**30
# What glibc has come to by itself once it has seen large blocks: its limit for one, and twice that.
_USUAL = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}


def keep_freed_memory() -> None:
    """Let freed blocks be used again: a feature map of 16 MiB otherwise comes as 4096 new pages, zeroed one by one.

    A fifth of an eager step on a CPU; the process keeps what it needed at its peak. Where there is no glibc, nothing.
    """
    _set({_MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: 2 * _LARGE - 1})


@contextmanager
def usual_allocation() -> Iterator[None]:
    """As a program finds it that does not ask for anything; afterwards, freed memory is kept."""
    _set(_USUAL)
    try:
        yield
    finally:
        keep_freed_memory()


def give_back_freed_memory() -> None:
    """What is free now goes back to the system."""
    _glibc("malloc_trim", 0)


def _set(values: dict[int, int]) -> None:
    for name, value in values.items():
        _glibc("mallopt", name, value)


def _glibc(function: str, *arguments: int) -> None:
    """Call a function of glibc; nothing where the C library is another."""
    if platform.libc_ver()[0] == "glibc":
        with suppress(OSError, AttributeError):
            getattr(ctypes.CDLL(None), function)(*arguments)
