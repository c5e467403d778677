import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd.engines import StudentEngine
from ignite_kd.events import DistillationEvents
from ignite_kd.heads import CrossEntropy

LOADER = [(torch.linspace(-1, 1, 6).reshape(2, 3) * (i + 1), torch.tensor([0, 1])) for i in range(3)]


@pytest.fixture
def student():
    model = nn.Linear(3, 2)
    engine = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(engine)
    return engine


def iterations(student, event):
    seen = []
    student.add_event_handler(event, lambda: seen.append(student.state.iteration))
    student.run(LOADER, max_epochs=2)
    return seen


def test_their_names_are_not_those_of_ignites_events():
    # ignite compares events by name: one of the same name would fire together with the built-in one
    names = {event.value for event in Events} | {event.name for event in Events}
    assert not names & {event.value for event in DistillationEvents}
    assert not names & {event.name for event in DistillationEvents}


@pytest.mark.parametrize("event", DistillationEvents)
def test_they_are_filtered_as_any_event(student, event):
    assert iterations(student, event) == [1, 2, 3, 4, 5, 6]
    student.state.max_epochs = None  # a fresh run
    assert iterations(student, event(every=2)) == [2, 4, 6]
    student.state.max_epochs = None
    assert iterations(student, event(once=3)) == [3]
    student.state.max_epochs = None
    assert iterations(student, event(event_filter=lambda engine, count: count in (1, 5))) == [1, 5]
    student.state.max_epochs = None
    assert iterations(student, event(after=4) | Events.EPOCH_STARTED(once=1)) == [0, 5, 6]


def test_they_come_between_the_forward_pass_and_the_optimizers_step(student):
    lived = []
    before = student.model.weight.detach().clone()

    @student.on(DistillationEvents.LOSSES)
    def losses():
        lived.append(("losses", student.state.student is not None, student.model.weight.grad is not None))

    @student.on(DistillationEvents.BACKWARD_COMPLETED)
    def backward():
        same = torch.equal(student.model.weight, before)
        lived.append(("backward", same, student.model.weight.grad is not None))

    @student.on(Events.ITERATION_COMPLETED)
    def completed():
        lived.append(("completed", torch.equal(student.model.weight, before)))

    student.run(LOADER[:1], max_epochs=1)
    assert lived == [("losses", True, False), ("backward", True, True), ("completed", False)]


def test_a_gradient_that_is_changed_after_backward_is_what_the_optimizer_takes(student):
    before = student.model.weight.detach().clone()

    @student.on(DistillationEvents.BACKWARD_COMPLETED)
    def replace():
        student.model.weight.grad.fill_(2.0)

    student.run(LOADER[:1], max_epochs=1)
    assert torch.equal(student.model.weight, before - 0.1 * torch.full_like(before, 2.0))
