"""Data-parallel training: one handler that makes processes, each with its share of a batch, one student."""

from __future__ import annotations

from itertools import chain

import ignite.distributed as idist
import torch
import torch.distributed as dist
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from torch import Tensor

from ignite_kd.engines import StudentEngine
from ignite_kd.events import DistillationEvents
from ignite_kd.synchronised import synchronise_batch_norms
from ignite_kd.whole_batch import WholeBatch

__all__ = ["AverageGradients"]


class AverageGradients:
    """All processes take the step that one would take with the whole batch, in the model and in the heads.

    Each process's gradient counts by its share of the batch, so uneven shares are exact. All gradients travel as one
    tensor: one collective a step. Batch norms in training mode see the whole batch (two small collectives each, see
    `synchronise_batch_norms`), and so do heads that compare images with each other: what they read is gathered with
    its gradient, and each process computes their loss of the whole batch.
    """

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        """Attach after the heads and the teacher: they, too, start equal and share their statistics."""
        alone = [head for head in student.heads.values() if not getattr(head, "gathers", False)]
        taught = [] if student.teacher is None else [student.teacher.model]
        for module in (student.model, *taught, *alone):
            synchronise_batch_norms(module)
        return [
            student.add_event_handler(Events.STARTED, self._start_equal),
            student.add_event_handler(Events.ITERATION_STARTED, self._share),
            student.add_event_handler(DistillationEvents.BACKWARD_COMPLETED, self._average),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._share_buffers),
        ]

    def _start_equal(self, student: StudentEngine) -> None:
        for module in (student.model, *student.heads.values()):
            for tensor in chain(module.parameters(), module.buffers()):
                _from_first(tensor.data)

    def _share_buffers(self, student: StudentEngine) -> None:
        """Equal already, but for what a GPU rounds in another order, which must not add up over hundreds of epochs."""
        for module in (student.model, *student.heads.values()):
            for buffer in module.buffers():
                _from_first(buffer)

    def _share(self, student: StudentEngine) -> None:
        whole = WholeBatch(len(student.state.batch.labels))
        student.state.whole_batch = whole if idist.get_world_size() > 1 else None

    def _average(self, student: StudentEngine) -> None:
        student.state.whole_batch = None  # frees what was gathered
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
