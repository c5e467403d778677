"""A loss that is no number stops the run and is named; what is saved stays sound."""

from __future__ import annotations

import math

import torch
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from torch import Tensor, nn

from ignite_kd.distributed import agree
from ignite_kd.engines import StudentEngine
from ignite_kd.errors import Diverged

__all__ = ["StopOnNonFinite", "weights_are_finite"]


class StopOnNonFinite:
    """Raises `Diverged`, naming the term, epoch and iteration, when a loss has become NaN or infinite.

    Each step puts its terms aside; the host looks at them every `every` steps, at the end of an epoch, and through
    `check()` before a checkpoint is written. So nothing waits for a GPU, and no bad state is ever saved.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._student: StudentEngine | None = None
        self._unseen: list[tuple[int, str, Tensor]] = []  # iteration, term and value since the last look

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        self._student = student
        return [
            student.add_event_handler(Events.ITERATION_COMPLETED, self._note),
            student.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self.check_losses),
            student.add_event_handler(Events.EPOCH_COMPLETED, self.check_losses),
        ]

    def check_losses(self) -> None:
        """Raise where a term has been bad since the last look."""
        if self._student is None or not self._unseen:
            return
        finite = torch.stack([value for *_, value in self._unseen]).isfinite().tolist()
        earliest: dict[str, float] = {}
        for (iteration, name, _), sound in zip(self._unseen, finite, strict=True):
            earliest[name] = min(earliest.get(name, math.inf), math.inf if sound else iteration)
        # a process may be alone in seeing it, in its share, but all must stop; the largest of negatives is the earliest
        firsts = agree(*(-iteration for iteration in earliest.values()))
        bad = [(-first, name) for first, name in zip(firsts, earliest, strict=True) if first > -math.inf]
        if bad:
            iteration, name = int(min(bad)[0]), min(bad)[1]
            epoch = (iteration - 1) // (self._student.state.epoch_length or 1) + 1
            raise Diverged(
                f"the loss '{name}' was NaN or infinite at epoch {epoch}, iteration {iteration}; "
                "lower its factor or the learning rate"
            )
        self._unseen.clear()

    def check(self) -> None:
        """Raise unless the losses and the weights are finite: called before a checkpoint is written."""
        self.check_losses()
        student = self._student
        if student is None:
            return
        modules = {"student": student.model, **student.heads}
        bad = agree(*(not weights_are_finite(module) for module in modules.values()))
        for name, found in zip(modules, bad, strict=True):
            if found:
                raise Diverged(
                    f"the weights of '{name}' became NaN or infinite by epoch {student.state.epoch}, "
                    f"iteration {student.state.iteration}; lower the learning rate"
                )

    def _note(self, student: StudentEngine) -> None:
        iteration = student.state.iteration
        self._unseen += [(iteration, name, loss) for name, loss in student.state.output["losses"].items()]


def weights_are_finite(module: nn.Module) -> bool:
    """Whether every parameter and buffer is a number; the host waits once."""
    floating = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point() and t.numel()]
    return not floating or bool(torch.stack([t.detach().isfinite().all() for t in floating]).all())
