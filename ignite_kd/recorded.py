"""A training step recorded as CUDA graphs: the host says one word where it launched a thousand kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle
from torch import Tensor

from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.representation import Batch, Representation

__all__ = ["FixedPlaces", "Recording", "record_student", "record_teacher"]

_PLAIN_STEPS = 3  # before recording: libraries set themselves up, optimizers make their state


class Recording(Protocol):
    """Work on tensors that stay where they are; each `play` does it again and gives the same tensors, filled anew."""

    def play(self) -> Any: ...


class CudaGraph:
    """What a function launches on the GPU, without running it; it takes nothing and must not look at a value."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        # other threads, a loader's for one, may go on with what a recording forbids
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._result = function()

    def play(self) -> Any:
        self._graph.replay()
        return self._result


class FixedPlaces:
    """Copies whole batches to places that never move, which recordings read. Attach one to all students of a loader.

    It must come before the teacher. An epoch's odd last batch stays what it is.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._held: Batch | None = None
        self._source: tuple[Tensor, int] | None = None

    def attach(self, student: StudentEngine) -> RemovableEventHandle:
        return student.add_event_handler(Events.ITERATION_STARTED, self._move)

    def holds(self, images: Tensor) -> bool:
        """Whether these images are the ones in the fixed place."""
        return self._held is not None and images is self._held.images

    def _move(self, student: StudentEngine) -> None:
        batch = student.state.batch
        if len(batch.labels) != self.batch_size:
            return
        if self._held is None:
            images, labels, indices = batch
            self._held = Batch(images.clone(), labels.clone(), None if indices is None else indices.clone())
        # classmates come with the same tensors: they are copied once
        if self._source is None or self._source[0] is not batch.images or self._source[1] != student.state.iteration:
            for place, part in zip(self._held, batch, strict=True):
                if place is not None and part is not None:
                    place.copy_(part)
            self._source = batch.images, student.state.iteration
        student.state.batch = self._held


class _Recorded:
    """Work that is done as it is for a few times, then recorded, and recorded anew when its constants have changed."""

    def __init__(self, recording: Callable[[Callable[[], Any]], Recording]) -> None:
        self._recording = recording
        self._constants: Any = None
        self._steps = 0
        self._tape: Recording | None = None
        self._possible = True

    @property
    def playing(self) -> bool:
        """Whether what comes out lies in places that never move."""
        return self._tape is not None

    def _do(self, work: Callable[[], Any], constants: Any) -> Any:
        if not self._possible:
            return work()
        if constants != self._constants:
            self._constants, self._steps, self._tape = constants, 0, None
        self._steps += 1
        if self._steps <= _PLAIN_STEPS:
            return work()
        if self._tape is None:
            try:
                self._tape = self._recording(work)
            except RuntimeError as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                warnings.warn(f"a step cannot be recorded and runs as it is: {reason}", stacklevel=2)
                self._possible = False
                return work()
        return self._tape.play()


class _RecordedTeacher(_Recorded):
    """Stands where the teacher's network stood."""

    def __init__(self, teacher: TeacherEngine, places: FixedPlaces, recording: Callable[..., Recording]) -> None:
        super().__init__(recording)
        self._network, self._places = teacher.network, places

    def __call__(self, images: Tensor) -> Representation:
        if not self._places.holds(images):
            return self._network(images)
        return self._do(lambda: self._network(images), constants=())


class _RecordedStep(_Recorded):
    """Stands where the student's step stood: forward, losses, backward and optimizer are one recording.

    What handlers of the step's own events do is recorded with it, so they are called when it is recorded, and not when
    it is played.
    """

    def __init__(self, student: StudentEngine, places: FixedPlaces, recording: Callable[..., Recording]) -> None:
        super().__init__(recording)
        self._step, self._places = student._process_function, places

    def __call__(self, student: StudentEngine, batch: Batch) -> dict[str, Any]:
        teacher = student.teacher and student.teacher.network
        moving = teacher is not None and not (isinstance(teacher, _RecordedTeacher) and teacher.playing)
        if moving or not self._places.holds(batch.images):
            return self._step(student, batch)
        state = student.state

        def work() -> tuple[Any, ...]:
            state.losses = {}
            output = self._step(student, batch)
            values = torch.stack([output["loss"], *output["losses"].values()])
            return output, values, state.student, state.losses

        output, values, state.student, state.losses = self._do(work, _constants(student))
        # handlers put losses aside for later, and the next play fills their places anew
        loss, *losses = values.clone().unbind()
        return output | {"loss": loss, "losses": dict(zip(output["losses"], losses, strict=True))}


def _constants(student: StudentEngine) -> tuple[Any, ...]:
    """What a recording holds as plain numbers; schedules move some of them from time to time."""
    groups = student.optimizer.param_groups
    settings = [{name: value for name, value in group.items() if name != "params"} for group in groups]
    return settings, [len(group["params"]) for group in groups], dict(student.factors)


def record_teacher(
    teacher: TeacherEngine, places: FixedPlaces, recording: Callable[..., Recording] = CudaGraph
) -> None:
    """The forward pass of a teacher, for batches in these places."""
    teacher.network = _RecordedTeacher(teacher, places, recording)


def record_student(
    student: StudentEngine, places: FixedPlaces, recording: Callable[..., Recording] = CudaGraph
) -> None:
    """The whole step of a student, for batches in these places. One with a memory, or that asks the host, is not."""
    if not any(head.remembers for head in student.heads.values()):
        student._process_function = _RecordedStep(student, places, recording)
