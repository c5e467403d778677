"""Times of pieces of work that take turns, so that whatever else the machine does falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Timing", "alternate", "summary", "timed"]

Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Of several measurements the median, and the distance between the quartiles."""

    median: float
    spread: float


def summary(values: Sequence[float]) -> Timing:
    """Median and quartile distance of measurements."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Timing(median, high - low)


def timed(work: Work, device: torch.device | str) -> float:
    """Seconds of `work`, to the end of what it started on a GPU."""
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def alternate(
    works: Mapping[str, Work], rounds: int, device: torch.device | str, warm_up: int = 1, pause: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each work, round by round; `pause` seconds lie before each, outside of its time.

    Args:
        warm_up: rounds that are run first and not counted.
        pause: for processes that still work for the one before, as a loader's that fill their queue.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(rounds + warm_up):
        for name, work in works.items():
            time.sleep(pause)
            spent = timed(work, device)
            if round_ >= warm_up:
                seconds[name].append(spent)
    return seconds


def _wait(device: torch.device | str) -> None:
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
