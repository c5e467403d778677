"""Training that keeps its history: the weights at given epochs, and how far each layer moved in every epoch."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from torch import Tensor

from ignite_kd.engines import StudentEngine
from ignite_kd.files import write_while_training

__all__ = ["PATH_FILE", "KeepEpochs", "weights_file"]

PATH_FILE = "weight-path.pt"


def weights_file(epoch: int) -> str:
    return f"epoch-{epoch:04d}.th"


class KeepEpochs:
    """Writes the student's weights, and nothing else, after each of these epochs; 0 is before the first step.

    Beside them `weight-path.pt` tells for each layer (each weight of two dimensions or more, in the network's order)
    and each epoch how long the way of its weights was, summed over the steps, and how far it led. Both once for the
    layer and once for all layers up to it. Divided by the norms at the beginning, which are there too, they are the
    distances of Cheng et al., CVPR 2020, arXiv:2003.03622: its code sums over steps, its paper over epochs.

    Costs a copy and a norm of the weights a step, on the device, and nothing waits for it. Attach it before
    `Checkpoints` and give that its state: a run that was killed and resumed leaves the same files. Where a method
    trains a first stage, the history begins after it.
    """

    def __init__(self, folder: str | Path, epochs: Collection[int]) -> None:
        self.folder, self.epochs = Path(folder), frozenset(epochs)
        self._path: list[Tensor] = []  # an epoch: (over steps, over the epoch) × (layer, up to it) × layers
        self._initial: Tensor | None = None  # norms: (layer, up to it) × layers
        self._steps: Tensor | None = None  # of the epoch that runs
        self._epoch_start: list[Tensor] | None = None
        self._before: list[Tensor] = []

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        return [
            student.add_event_handler(Events.STARTED, self._begin),
            student.add_event_handler(Events.ITERATION_COMPLETED, self._add_step),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch),
        ]

    def state_dict(self) -> dict[str, Any]:
        """The weights at the epoch's start are part of it only within an epoch: at its end they are the model's."""
        return {
            "path": list(self._path),
            "initial": self._initial,
            "steps": self._steps,
            "epoch_start": None if self._steps is None else self._epoch_start,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._path, self._initial = list(state["path"]), state["initial"]
        self._steps, self._epoch_start = state["steps"], state["epoch_start"]

    def _begin(self, student: StudentEngine) -> None:
        weights = _weights(student)
        if student.state.iteration == 0:
            self._path, self._steps, self._epoch_start = [], None, None
            self._initial = _norms(weights)
            self._keep(student, 0)
        self._before = [weight.clone() for weight in weights]
        if self._steps is None or self._epoch_start is None:
            self._epoch_start = [weight.clone() for weight in weights]
        else:  # resumed within an epoch, from the CPU
            self._steps = self._steps.to(student.device)
            self._epoch_start = [weight.to(student.device) for weight in self._epoch_start]

    def _add_step(self, student: StudentEngine) -> None:
        weights = _weights(student)
        moved = _norms(torch._foreach_sub(weights, self._before))
        self._steps = moved if self._steps is None else self._steps + moved
        torch._foreach_copy_(self._before, weights)

    def _end_epoch(self, student: StudentEngine) -> None:
        assert self._steps is not None and self._epoch_start is not None
        weights = _weights(student)
        led = _norms(torch._foreach_sub(weights, self._epoch_start))
        self._path.append(torch.stack([self._steps, led]).cpu())
        torch._foreach_copy_(self._epoch_start, weights)
        self._steps = None
        self._keep(student, student.state.epoch)

    def _keep(self, student: StudentEngine, epoch: int) -> None:
        if idist.get_rank() > 0:
            return
        assert self._initial is not None
        names = [name for name, weight in student.model.named_parameters() if weight.dim() > 1]
        path = torch.stack(self._path) if self._path else torch.zeros(0, 2, 2, len(names), dtype=self._initial.dtype)
        files: dict[str, Any] = {PATH_FILE: {"layers": names, "initial": self._initial.cpu(), "path": path}}
        if epoch in self.epochs:
            files[weights_file(epoch)] = student.model.state_dict()
        for name, value in files.items():
            content = io.BytesIO()
            torch.save(value, content)
            write_while_training(self.folder / name, content.getvalue(), "what was kept before is there")


def _weights(student: StudentEngine) -> list[Tensor]:
    return [weight.detach() for weight in student.model.parameters() if weight.dim() > 1]


def _norms(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """2 × layers: the norm of each, and that of all up to it, in float64 where there is one."""
    norms = torch.stack(torch._foreach_norm(tensors))
    squares = norms.to(torch.float32 if norms.device.type == "mps" else torch.float64).square()
    return torch.stack([squares, squares.cumsum(0)]).sqrt()
