"""What every head shares: how it is attached, and a few chores of tensors."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from ignite.engine.events import EventEnum
from torch import Tensor, nn

from ignite_kd.engines import Attachment, StudentEngine
from ignite_kd.events import DistillationEvents
from ignite_kd.heads.first_stage import FirstStage
from ignite_kd.heads.stages import channels_of, norms_of, refuse_vectors, strides_of
from ignite_kd.representation import Batch, Representation

__all__ = ["Head", "at_least_float32", "no_autocast", "pool_to_smaller"]


class Head(nn.Module):
    """A loss term. `forward` is pure: tensors in, one unweighted scalar out; it works in anybody's loop.

    A head owns its projectors. `attach` is the adapter to a student: each step adds factor × forward under a name.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""  # authors, year, arXiv number: what `ignite-kd list methods` says
    needs_teacher: ClassVar[bool] = True
    needs_maps: ClassVar[bool] = False  # compares positions: its `pairs` must not be vectors
    couples_batch: ClassVar[bool] = False  # the loss of a batch is not the mean of its images' losses
    only_norms_couple: ClassVar[bool] = False  # couples_batch, but by batch norms alone
    remembers: ClassVar[bool] = False  # keeps something of every image that it saw

    @classmethod
    def for_models(cls, student: nn.Module, teacher: nn.Module | None, **options: Any) -> Head:
        """This head for two models: what its constructor asks of them by name is read from what they declare."""
        asked = inspect.signature(cls).parameters
        for who, model in (("student", student), ("teacher", teacher)):
            for what, declared in (("channels", channels_of), ("strides", strides_of), ("norms", norms_of)):
                if f"{who}_{what}" in asked:
                    options[f"{who}_{what}"] = declared(model)
        head = cls(**options)
        if cls.needs_maps:
            refuse_vectors(cls.name, cast(Any, head).pairs, student, teacher)
        return head

    def first_stage(self, student: nn.Module) -> FirstStage | None:
        """What some methods train before the student proper learns: see `first_stage.py`."""
        return None

    @property
    def gathers(self) -> bool:
        """Whether it sees the batch of all processes. Batch norms alone are synchronised, which is cheaper."""
        return (self.couples_batch and not self.only_norms_couple) or self.remembers

    def forward(self, student: Representation, teacher: Representation, batch: Batch) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no forward(student, teacher, batch) yet.")

    def attach(
        self,
        student: StudentEngine,
        factor: float = 1.0,
        name: str | None = None,
        event: EventEnum | Any = DistillationEvents.LOSSES,
    ) -> Attachment:
        """Add this term to each step of `student`, its parameters to the optimizer and its state to checkpoints.

        Args:
            factor: the weight of the term; `student.factors[name]` may be moved while training.
            name: the key in `state.losses`; the method's name by default.
            event: `DistillationEvents.LOSSES`, or a filtered one such as `LOSSES(every=2)`.

        Returns:
            ignite's handle; `remove()` takes everything back, and it works as a `with` block.
        """
        name = name or self.name
        undo = student.add_head(self, name, factor)
        try:
            return Attachment(student.add_event_handler(event, self._add_term, name), undo)
        except BaseException:  # an event that the engine does not have
            undo()
            raise

    def _add_term(self, student: StudentEngine, name: str) -> None:
        state = student.state
        if self.needs_teacher and state.teacher is None:
            raise RuntimeError(f"the head '{name}' needs a teacher: teacher.attach(student) before the run.")
        seen, shown, batch = state.student, state.teacher, state.batch
        whole = getattr(state, "whole_batch", None)  # of several processes that share a batch: see AverageGradients
        if whole is not None and self.gathers:
            seen, batch = whole.representation(seen), whole.batch(batch)
            shown = shown and whole.representation(shown)
        student.add_loss(name, student.factors[name] * student.terms[name](seen, shown, batch))


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32, in which exponentials, logarithms and divisions are safe; the rest stays."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def no_autocast(x: Tensor) -> torch.autocast:
    """A `with` block in which products stay in the precision of their factors: autocast would round them to half."""
    return torch.autocast(x.device.type, enabled=False)


def pool_to_smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps at the smaller size of both, by averaging; vectors count as 1 × 1 maps."""
    student, teacher = (x[:, :, None, None] if x.dim() == 2 else x for x in (student, teacher))
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    student, teacher = (x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size) for x in (student, teacher))
    return student, teacher
