"""Running means of the losses and the accuracy over an epoch, kept on the device."""

from __future__ import annotations

from itertools import chain
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
        self._images = 0
        self._sums: dict[tuple[str, ...], Tensor] = {}  # of steps with the same terms together: one operation a step

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        return [
            student.add_event_handler(Events.ITERATION_COMPLETED, self._add),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._finish),
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"images": self._images, "sums": {names: sums.clone() for names, sums in self._sums.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._images = int(state["images"])
        self._sums = {names: sums.clone() for names, sums in state["sums"].items()}

    def _add(self, student: StudentEngine) -> None:
        output = student.state.output
        labels: Tensor = output["labels"]
        count = len(labels)
        right = (output["logits"].argmax(1) == labels).sum(0, keepdim=True)
        # a term may come late (warm-up) or rarely (every=2): its mean is still over all images of the epoch
        losses = output["losses"]
        self._images += count
        self._sum(("accuracy",), right, 1)
        self._sum(
            ("loss", *(f"loss.{name}" for name in losses)), torch.stack([output["loss"], *losses.values()]), count
        )

    def _sum(self, names: tuple[str, ...], values: Tensor, weight: int) -> None:
        before = self._sums.get(names)
        if before is None:
            before = torch.zeros(len(names), dtype=_wide(values.device), device=values.device)
        elif before.device != values.device:  # just resumed
            before = before.to(values.device)
        self._sums[names] = before.add_(values, alpha=weight)

    def _finish(self, student: StudentEngine) -> None:
        if not self._sums:
            return
        found = {"images": float(self._images)}
        values = torch.cat(list(self._sums.values())).tolist()
        for name, value in zip(chain.from_iterable(self._sums), values, strict=True):
            found[name] = found.get(name, 0.0) + value
        if idist.get_world_size() > 1:
            names = sorted(found)
            device = next(iter(self._sums.values())).device
            sums = torch.tensor([found[name] for name in names], dtype=_wide(device), device=device)
            found = dict(zip(names, idist.all_reduce(sums).tolist(), strict=True))
        images = found.pop("images")
        metrics = student.state.metrics
        for name in [name for name in metrics if name.startswith("train/loss.")]:
            del metrics[name]  # a term that has ended would keep its last value for ever
        metrics.update({f"train/{name}": value / images for name, value in found.items()})
        self._images, self._sums = 0, {}


def _wide(device: torch.device) -> torch.dtype:
    """float64, in which thousands of batches add up without loss; Apple's GPUs have none."""
    return torch.float32 if device.type == "mps" else torch.float64
