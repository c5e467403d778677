"""What a user did wrong, and what went wrong in a run: one line each, never a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["Diverged", "RunFailed", "UserError", "first_line", "out_of_memory", "unknown"]


class UserError(ValueError):
    """Wrong input: says what came, what is possible and what to do. The command line exits with 2."""

    while_training = False  # found by one process in its share of the data, perhaps by no other


class RunFailed(RuntimeError):
    """A run that started well and could not go on. The command line exits with 1."""


class Diverged(RunFailed):
    """A loss or a weight became no number: what another try would give again, unlike a full disk."""


def out_of_memory(error: Exception) -> str | None:
    """What to do where an accelerator's memory is full; None for any other error."""
    if type(error).__name__ != "OutOfMemoryError":  # torch's; it is not imported for this
        return None
    return (
        f"{'. '.join(str(error).split('. ')[:2])}; smaller batches (--recipe vid,batch_size=64), fewer students at"
        " once or --precision bf16 take less. What was saved before is kept."
    )


def first_line(error: Exception) -> str:
    """What others' errors, of many lines, begin with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]


def unknown(kind: str, word: str, possible: Iterable[str]) -> UserError:
    """The error for a name nobody knows, with the nearest one that exists."""
    possible = list(possible)
    nearest = difflib.get_close_matches(word, possible, n=1, cutoff=0.5)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    more = ", …" if len(possible) > 20 else ""
    return UserError(f"unknown {kind} '{word}'{hint} (possible: {', '.join(possible[:20])}{more})")
