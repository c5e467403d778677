"""Data-parallel training: one handler that averages gradients over the processes."""

from __future__ import annotations

from itertools import chain

import ignite.distributed as idist
import torch
import torch.distributed as dist
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from torch import Tensor

from ignite_kd.engines import StudentEngine
from ignite_kd.errors import UserError
from ignite_kd.events import DistillationEvents

__all__ = ["AverageGradients"]


class AverageGradients:
    """All processes step with the gradient of the global batch; weights of heads are synchronised like the model's.

    Each process's gradient counts by its share of the batch, so uneven shares are exact. Batch norms use their own
    share's statistics; the running ones of process 0 are those that are evaluated and saved. All gradients travel as
    one tensor: one collective a step.
    """

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        """Attach after the heads: theirs are among the tensors that start equal."""
        for name, head in student.heads.items():
            if idist.get_world_size() > 1 and getattr(head, "remembers", False):
                raise UserError(
                    f"{name} keeps a memory of all training images, which processes do not share yet; "
                    "use one process, or another method."
                )
        return [
            student.add_event_handler(Events.STARTED, self._start_equal),
            student.add_event_handler(DistillationEvents.BACKWARD_COMPLETED, self._average),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._share_buffers),
        ]

    def _start_equal(self, student: StudentEngine) -> None:
        for module in (student.model, *student.heads.values()):
            for tensor in chain(module.parameters(), module.buffers()):
                _from_first(tensor.data)

    def _share_buffers(self, student: StudentEngine) -> None:
        for buffer in student.model.buffers():
            _from_first(buffer)

    def _average(self, student: StudentEngine) -> None:
        if idist.get_world_size() == 1:
            return
        gradients = [p.grad for group in student.optimizer.param_groups for p in group["params"] if p.grad is not None]
        count = gradients[0].new_full((1,), len(student.state.batch.labels))
        flat = torch.cat([*(g.flatten() * count for g in gradients), count])
        dist.all_reduce(flat)
        flat /= flat[-1].clone()
        for gradient, mean in zip(gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def _from_first(tensor: Tensor) -> None:
    if idist.get_world_size() > 1:
        dist.broadcast(tensor, 0)
