"""Several students over one loader, batch by batch, so that they can share a teacher's forward pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from ignite.engine import Engine, Events
from ignite.engine.events import State

from ignite_kd.engines import StudentEngine
from ignite_kd.representation import Batch

__all__ = ["run_together", "step_together"]


class _Feed:
    """The loader as one student sees it: as long as the real one, giving the batch that was drawn for everybody."""

    def __init__(self, length: int) -> None:
        self.batch: Batch | None = None
        self._length, self._start = length, 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch | None]:
        for given in range(self._start + 1, self._length + 1):
            if given == self._length:
                self._start = 0  # before the yield, as in `Seekable`: a seek during a pass has had its time
            yield self.batch


class _SeekableFeed(_Feed):
    """Of a loader that knows positions."""

    def seek(self, iteration: int) -> None:
        self._start = iteration % self._length


class _Classmate:
    """A student that pauses after each batch: `Engine.interrupt` makes `run` return, the next `run` goes on."""

    def __init__(self, student: StudentEngine, feed: _Feed, max_epochs: int) -> None:
        self.student, self.feed, self.max_epochs = student, feed, max_epochs
        self.begins_after = _beginning(student.state, len(feed), max_epochs)
        self.learning = True
        self._handles = [
            student.add_event_handler(Events.ITERATION_COMPLETED, Engine.interrupt),
            student.add_event_handler(Events.INTERRUPT, self._pause),
        ]

    def _pause(self) -> None:
        self.learning = True

    def go_on(self, batch: Batch | None = None) -> None:
        """One step with this batch, or whatever is left to do after the last one."""
        self.feed.batch, self.learning = batch, False  # only a pause says that there is more to come
        self.student.run(self.feed, max_epochs=self.max_epochs)

    def leave(self) -> None:
        for handle in self._handles:
            handle.remove()
        self.student.forget_run()  # where something failed: ignite would go on in it, with the last batch for ever


def run_together(
    students: Sequence[StudentEngine],
    loader: Iterable[Any],
    max_epochs: int,
    failed: Callable[[StudentEngine, Exception], None] | None = None,
) -> list[State]:
    """Train several students on the same batches; each lives the events of an engine that runs alone.

    The batch is drawn and moved once, a shared teacher looks at it once. A student that terminates early leaves, the
    others go on. Those that are behind, as after a kill between two checkpoints, catch up first. The pauses are
    ignite's `Events.INTERRUPT`, fired after every batch: the one event that an engine run alone does not have.

    Args:
        failed: is called with a student and what its step raised, and the others go on; without it that is raised.
    """
    for _ in step_together(students, loader, max_epochs, failed):
        pass
    return [student.state for student in students]


def step_together(
    students: Sequence[StudentEngine],
    loader: Iterable[Any],
    max_epochs: int,
    failed: Callable[[StudentEngine, Exception], None] | None = None,
) -> Generator[None, None, None]:
    """`run_together`, which stops after each batch until it is asked to go on."""
    if not students:
        return
    if len(set(map(id, students))) < len(students):
        raise ValueError("a student is named twice; each takes one step a batch, so build an engine for each.")
    if not hasattr(loader, "__len__"):
        raise TypeError(
            f"run_together needs a loader with a length, but a {type(loader).__name__} has none; make it a list."
        )
    length = len(loader)  # type: ignore[arg-type]
    feed = _SeekableFeed if hasattr(loader, "seek") else _Feed
    classmates = [_Classmate(student, feed(length), max_epochs) for student in students]
    begins = {classmate.begins_after for classmate in classmates}
    if len(begins) > 1 and not hasattr(loader, "seek"):
        raise ValueError(
            f"students at different iterations ({sorted(begins)}) need a loader with seek(iteration), so that those "
            f"behind catch up; a {type(loader).__name__} has none."
        )

    def go_on(classmate: _Classmate, batch: Batch | None = None) -> None:
        try:
            classmate.go_on(batch)
        except Exception as error:
            if failed is None:
                raise
            classmate.leave()
            failed(classmate.student, error)

    try:
        for iteration, batch in _batches(loader, length, min(begins), max_epochs):
            batch = Batch.of(batch).to(students[0].device)
            for classmate in classmates:
                if classmate.learning and classmate.begins_after <= iteration:
                    go_on(classmate, batch)
            if not any(classmate.learning for classmate in classmates):
                break
            yield
        for classmate in classmates:
            if classmate.learning:
                go_on(classmate)
    finally:
        for classmate in classmates:
            classmate.leave()


def _beginning(state: State, length: int, max_epochs: int) -> int:
    """The iteration after which ignite's `run` will go on: a new or a finished engine begins at zero."""
    done = state.max_epochs is None or state.iteration >= length * max_epochs or state.epoch >= max_epochs
    return 0 if done else state.iteration


def _batches(loader: Iterable[Any], length: int, iteration: int, max_epochs: int) -> Iterator[tuple[int, Any]]:
    """Each batch with the number of those before it."""
    while iteration < length * max_epochs:
        if hasattr(loader, "seek"):
            loader.seek(iteration)
        before = iteration
        for batch in loader:
            yield iteration, batch
            iteration += 1
            if iteration == length * max_epochs:
                return
        if iteration == before:
            raise RuntimeError(f"the loader has a length of {length}, but gave no batch at iteration {iteration}.")
