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
        """All processes ask for it together: it holds the sums over all, so that any number of them can go on."""
        images, sums = self._over_processes()
        return {"images": images, "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        first = idist.get_rank() == 0
        self._images = int(state["images"]) if first else 0
        self._sums = {names: sums.clone() if first else torch.zeros_like(sums) for names, sums in state["sums"].items()}

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

    def _over_processes(self) -> tuple[int, dict[tuple[str, ...], Tensor]]:
        """Images and sums of all processes together."""
        own = list(self._sums.values())
        if not own or idist.get_world_size() == 1:
            return self._images, {names: sums.clone() for names, sums in self._sums.items()}
        *sums, images = idist.all_reduce(torch.cat([*own, own[0].new_tensor([self._images])])).split(
            [*map(len, own), 1]
        )
        return int(images), dict(zip(self._sums, sums, strict=True))

    def _finish(self, student: StudentEngine) -> None:
        if not self._sums:
            return
        images, sums = self._over_processes()
        found: dict[str, float] = {}
        for name, value in zip(chain.from_iterable(sums), torch.cat(list(sums.values())).tolist(), strict=True):
            found[name] = found.get(name, 0.0) + value
        metrics = student.state.metrics
        for name in [name for name in metrics if name.startswith("train/loss.")]:
            del metrics[name]  # a term that has ended would keep its last value for ever
        metrics.update({f"train/{name}": value / images for name, value in found.items()})
        self._images, self._sums = 0, {}


def _wide(device: torch.device) -> torch.dtype:
    """float64, in which thousands of batches add up without loss; Apple's GPUs have none."""
    return torch.float32 if device.type == "mps" else torch.float64
