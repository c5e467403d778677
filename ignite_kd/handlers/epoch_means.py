"""Running means of the losses and the accuracy over an epoch, kept on the device."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from torch import Tensor

from ignite_kd.engines import StudentEngine

__all__ = ["EpochMeans"]


class EpochMeans:
    """At the end of an epoch `state.metrics` has `train/loss`, `train/accuracy` and `train/loss.<name>` of each term.

    Means over the epoch's images as they came, augmented and with the weights of their step. Sums stay on the device
    until then: the host waits once an epoch. They are part of a checkpoint, so an epoch that was interrupted has the
    same means as one that was not.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        return [
            student.add_event_handler(Events.ITERATION_COMPLETED, self._add),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._finish),
        ]

    def state_dict(self) -> dict[str, Any]:
        """All processes ask for it together: it holds the sums over all, so that any number of them can go on."""
        return {"sums": _over_processes(self._sums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        first = idist.get_rank() == 0
        self._sums = {name: value if first else torch.zeros_like(value) for name, value in state["sums"].items()}

    def _add(self, student: StudentEngine) -> None:
        output = student.state.output
        labels: Tensor = output["labels"]
        count = len(labels)
        right = (output["logits"].argmax(1) == labels).sum()
        step = {"accuracy": right, "loss": output["loss"] * count}
        step |= {f"loss.{name}": term * count for name, term in output["losses"].items()}
        # a term may come late (warm-up) or rarely (every=2): its mean is still over all images of the epoch
        for name, value in (step | {"images": torch.full_like(right, count)}).items():
            value = _wide(value)
            self._sums[name] = self._sums[name].to(value.device) + value if name in self._sums else value

    def _finish(self, student: StudentEngine) -> None:
        if not self._sums:
            return
        sums = _over_processes(self._sums)
        found = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))
        images = found.pop("images")
        metrics = student.state.metrics
        for name in [name for name in metrics if name.startswith("train/loss.")]:
            del metrics[name]  # a term that has ended would keep its last value for ever
        metrics.update({f"train/{name}": value / images for name, value in found.items()})
        self._sums = {}


def _over_processes(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    names = sorted(sums)
    if not names or idist.get_world_size() == 1:
        return dict(sums)
    return dict(zip(names, idist.all_reduce(torch.stack([sums[name] for name in names])), strict=True))


def _wide(value: Tensor) -> Tensor:
    """float64, in which thousands of batches add up without loss; Apple's GPUs have none."""
    return value.to(torch.float32 if value.device.type == "mps" else torch.float64)
