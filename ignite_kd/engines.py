"""Students and teachers as ignite engines; everything else is attached to them by event handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.engine.events import RemovableEventHandle
from ignite.metrics import Accuracy, Loss
from torch import Tensor, nn
from torch.optim import Optimizer

from ignite_kd.events import DistillationEvents
from ignite_kd.representation import Batch, Representation, represent

__all__ = ["Attachment", "EvaluationEngine", "StudentEngine", "TeacherEngine", "device_of", "evaluating"]

PRECISIONS = ("fp32", "bf16")


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lies; the CPU for a model that has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


class Attachment(RemovableEventHandle):
    """ignite's handle, which also takes back what else attaching did. Works as a `with` block too."""

    def __init__(self, handle: RemovableEventHandle, undo: Callable[[], None]) -> None:
        self.__dict__.update(handle.__dict__)
        self._undo: Callable[[], None] | None = undo

    def remove(self) -> None:
        super().remove()
        if self._undo is not None:
            self._undo()
            self._undo = None


class _Restartable(Engine):
    """ignite's engine, which after a failed run, or Ctrl-C in a notebook, can run again.

    ignite would go on inside the run that failed: its generator is dead, so that the next `run` does nothing at all.
    """

    def run(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().run(*args, **kwargs)
        except BaseException:
            self.forget_run()
            raise

    def forget_run(self) -> None:
        """Give up a run that was broken off. The next one begins at the engine's iteration, as from a checkpoint."""
        if self._internal_run_generator is not None:  # type: ignore[has-type]
            self._internal_run_generator = self._dataloader_iter = None
            if self.state.epoch_length:
                self.state.epoch = self.state.iteration // self.state.epoch_length


class StudentEngine(_Restartable):
    """A network that learns: `run` is its training, heads and teachers are attached to it.

    Args:
        model: any module; `model.represent(images)` is used where it exists, else only logits are known.
        optimizer: holds the model's parameters. Parameters of attached heads join it, see `add_head`.
        device: where to train; the model is moved there. By default it stays where it is.
        precision: `fp32` (whatever the weights are), or `bf16` for bfloat16 autocast in forward and losses.

    During a step `state.batch`, `state.student`, `state.teacher` and `state.losses` are set; afterwards
    `state.output` holds detached tensors: `loss`, `losses` (by name, as weighted), `logits` and `labels`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        device: torch.device | str | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__(StudentEngine._step)
        self.model, self.device = _placed(model, device)
        self.optimizer, self.precision = optimizer, precision
        self._autocast = _autocast(self.device, precision)
        self.network: Callable[[Tensor], Representation] = partial(represent, self.model)  # a compiled form, perhaps
        self.teacher: TeacherEngine | None = None
        self.heads: dict[str, nn.Module] = {}
        self.terms: dict[str, Callable[..., Tensor]] = {}  # how heads are called: themselves, or compiled forms
        self.factors: dict[str, float] = {}  # a handler may move these: warm-up, annealing
        counted_by_iteration: Any = dict.fromkeys(DistillationEvents, "iteration")
        self.register_events(*DistillationEvents, event_to_attr=counted_by_iteration)
        self.add_event_handler(Events.EPOCH_STARTED, StudentEngine._begin_epoch)
        self.add_event_handler(Events.ITERATION_STARTED, StudentEngine._begin_step)

    def add_head(self, head: nn.Module, name: str, factor: float = 1.0) -> Callable[[], None]:
        """Take a head's parameters into the optimizer and its state into checkpoints; returns the undo.

        The parameters join the optimizer's only group, with its learning rate and weight decay, as in the released
        codes. An optimizer of several groups must hold them already: nobody else can know where they belong.
        """
        if name in self.heads:
            raise ValueError(f"the student has a head named '{name}' already; attach this one with another name=.")
        attached = next((known for known, other in self.heads.items() if other is head), None)
        if attached is not None:
            raise ValueError(f"this {type(head).__name__} is attached already, as '{attached}'; build another one.")
        if not factor >= 0:
            raise ValueError(f"the factor of '{name}' should be zero or more, but {factor} was given.")
        head.to(self.device)
        joining = self._not_optimised(head)
        groups = self.optimizer.param_groups
        if joining and len(groups) > 1:
            raise ValueError(
                f"{type(head).__name__} would never be trained: the optimizer has {len(groups)} groups and holds none "
                f"of {', '.join(joining)}. Build the optimizer over the head's parameters too."
            )
        groups[0]["params"].extend(joining.values())
        self.heads[name], self.terms[name], self.factors[name] = head, head, factor

        def undo() -> None:
            del self.heads[name], self.terms[name], self.factors[name]
            leaving = {id(p) for p in joining.values()}
            groups[0]["params"][:] = [p for p in groups[0]["params"] if id(p) not in leaving]
            for parameter in joining.values():
                self.optimizer.state.pop(parameter, None)

        return undo

    def add_loss(self, name: str, term: Tensor) -> None:
        """Add a weighted scalar to this step's losses: what is summed is what is logged."""
        if name in self.state.losses:
            raise ValueError(f"the loss '{name}' was added twice at iteration {self.state.iteration}.")
        if term.numel() != 1:
            raise ValueError(f"the loss '{name}' should be a scalar, but its shape is {tuple(term.shape)}.")
        # a view of what is a scalar already would be one operation more in the backward pass
        self.state.losses[name] = term.reshape(()) if term.dim() else term

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Gradients of the step: one backward pass through the sum. Replace it for methods that need several."""
        _sum(losses).backward()

    def to_save(self) -> dict[str, Any]:
        """What a checkpoint of this student holds, in the form that ignite's `Checkpoint` takes."""
        objects: dict[str, Any] = {"student": self, "model": self.model, "optimizer": self.optimizer}
        return objects | {f"head.{name}": head for name, head in self.heads.items()}

    def _not_optimised(self, head: nn.Module) -> dict[str, nn.Parameter]:
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        return {n: p for n, p in head.named_parameters() if p.requires_grad and id(p) not in held}

    def _begin_epoch(self) -> None:
        self.model.train()
        # a loader that knows positions goes to this engine's, which makes resuming at any step exact
        if hasattr(self.state.dataloader, "seek"):
            self.state.dataloader.seek(self.state.iteration)

    def _begin_step(self) -> None:
        state = self.state
        if not self.model.training:  # somebody evaluated it and did not put it back
            self.model.train()
        state.student = state.teacher = None  # frees the features of the step before
        state.losses = {}
        state.batch = Batch.of(state.batch).to(self.device)

    def _step(self, batch: Batch) -> dict[str, Any]:
        state = self.state
        with self._autocast():
            state.student = self.network(batch.images)
            self.fire_event(DistillationEvents.LOSSES)
        if not state.losses:
            raise RuntimeError(
                f"no loss was added in DistillationEvents.LOSSES at iteration {state.iteration}. "
                "Attach a head, e.g. CrossEntropy().attach(student)."
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.backward(state.losses)
        self.fire_event(DistillationEvents.BACKWARD_COMPLETED)
        self.optimizer.step()
        losses = {name: term.detach() for name, term in state.losses.items()}
        return {
            "loss": _sum(losses),
            "losses": losses,
            "logits": state.student.logits.detach(),
            "labels": batch.labels,
        }


class EvaluationEngine(_Restartable):
    """Runs a model over a loader in eval mode without gradients; `state.metrics` has `accuracy` and `loss`."""

    def __init__(self, model: nn.Module, device: torch.device | str | None = None, precision: str = "fp32") -> None:
        super().__init__(EvaluationEngine._step)
        self.model, self.device = _placed(model, device)
        self.network: Callable[[Tensor], Representation] = partial(represent, self.model)
        self._autocast = _autocast(self.device, precision)
        transform = lambda output: (output["logits"], output["labels"])  # noqa: E731
        Accuracy(transform, device=self.device).attach(self, "accuracy")
        Loss(_cross_entropy, transform, device=self.device).attach(self, "loss")

    def run(self, *args: Any, **kwargs: Any) -> Any:
        with evaluating(self.model):
            return super().run(*args, **kwargs)

    def forget_run(self) -> None:
        """An evaluation is not gone on with."""
        super().forget_run()
        self.state.max_epochs = None

    def represent(self, images: Tensor) -> Representation:
        """What the model says about the images, without a gradient.

        `no_grad`, not `inference_mode`, whose tensors a projector could not save for its backward pass.
        """
        with torch.no_grad(), self._autocast():
            return self.network(images)

    def _step(self, batch: Any) -> dict[str, Any]:
        batch = Batch.of(batch).to(self.device)
        seen = self.represent(batch.images)
        logits = seen.logits.float() if seen.logits.dtype is torch.bfloat16 else seen.logits
        return {"logits": logits, "labels": batch.labels, "representation": seen}


class TeacherEngine(EvaluationEngine):
    """A frozen network. Attached to students it shows them its representation; run on a loader it is evaluated.

    Args:
        model: is frozen here: eval mode, no parameter asks for a gradient.
        batch_statistics: leave the batch norms in training mode while teaching, as the released VID code does: the
            batch's statistics are used and the running ones drift.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device | str | None = None,
        precision: str = "fp32",
        batch_statistics: bool = False,
    ) -> None:
        super().__init__(model, device, precision)
        self.model.requires_grad_(False).train(batch_statistics)
        self._seen: tuple[Tensor, tuple[int, int], Representation] | None = None

    def attach(self, student: StudentEngine) -> Attachment:
        """Show `student.state.teacher` from now on. Several students of one batch cost one forward pass."""
        if student.teacher is not None:
            raise ValueError("the student has a teacher already; remove() that attachment first.")
        if student.device != self.device:
            raise ValueError(
                f"the teacher is on {self.device} but the student on {student.device}; give both one device=."
            )
        own = {id(parameter) for parameter in student.model.parameters()}
        if any(id(parameter) in own for parameter in self.model.parameters()):
            raise ValueError("teacher and student share parameters, which are frozen now; give the teacher a deepcopy.")
        student.teacher = self

        def undo() -> None:
            student.teacher = None

        return Attachment(student.add_event_handler(Events.ITERATION_STARTED, self._teach), undo)

    def _teach(self, student: StudentEngine) -> None:
        images = student.state.batch.images
        # the iteration and torch's count of changes too: a loader may fill the same tensor anew for each batch
        state = student.state.iteration, images._version
        if self._seen is None or self._seen[0] is not images or self._seen[1] != state:
            self._seen = None  # frees the old features before the new ones are made
            self._seen = images, state, self.represent(images)
        student.state.teacher = self._seen[2]


def _placed(model: nn.Module, device: torch.device | str | None) -> tuple[nn.Module, torch.device]:
    """The model where it shall be, and that place by its full name: `cuda:0` where `cuda` was asked for."""
    asked = torch.device(device) if device is not None else device_of(model)
    model = model.to(asked)
    return model, next((p.device for p in model.parameters()), asked)


def _sum(losses: Mapping[str, Tensor]) -> Tensor:
    """Term by term: stacking a few scalars costs five times as much, and as much again in the backward pass."""
    return reduce(torch.add, losses.values())


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean; 0 of no image, which is what a process may get of a last batch."""
    return nn.functional.cross_entropy(logits, labels, reduction="sum") / max(1, len(labels))


def _autocast(device: torch.device, precision: str) -> Callable[[], Any]:
    if precision not in PRECISIONS:
        raise ValueError(f"Argument precision should be one of {', '.join(PRECISIONS)}, but given {precision}.")
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is in the mode it was in, also one frozen on purpose."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
