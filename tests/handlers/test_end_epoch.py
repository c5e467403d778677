import pytest
import torch
from ignite.engine import Events
from torch.optim import SGD

from ignite_kd import models
from ignite_kd.engines import StudentEngine
from ignite_kd.handlers import EndEpoch
from ignite_kd.heads import CrossEntropy


@pytest.fixture
def student():
    model = models.build("mlp_4", 3, image_size=4)
    student = StudentEngine(model, SGD(model.parameters(), 0.1))
    CrossEntropy().attach(student)
    student.ends = []
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda student: student.ends.append(student.state.iteration))
    EndEpoch().attach(student)
    return student


LOADER = [(torch.ones(2, 3, 4, 4), torch.tensor([0, 1]))] * 3


@pytest.mark.parametrize(("step", "ends"), [(2, []), (3, [3]), (4, [3]), (6, [3, 6])])
def test_an_epoch_whose_last_step_was_done_ends_once(student, step, ends):
    student.add_event_handler(Events.ITERATION_COMPLETED(once=step), lambda student: student.terminate())
    student.run(LOADER, max_epochs=3)
    assert student.ends == ends


def test_others_end_once_as_ever(student):
    student.run(LOADER, max_epochs=2)
    assert student.ends == [3, 6]


@pytest.mark.parametrize("event", [Events.EPOCH_COMPLETED, Events.STARTED, Events.EPOCH_STARTED])
def test_a_stop_elsewhere_ends_nothing_more(student, event):
    student.run(LOADER, max_epochs=1)
    student.state.max_epochs = None
    student.ends.clear()
    student.add_event_handler(event, lambda student: student.terminate())
    student.run(LOADER, max_epochs=2)
    assert student.ends == ([3] if event is Events.EPOCH_COMPLETED else [])
