import os
import signal
import time

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.handlers import Checkpoints, Stopping
from ignite_kd.heads import CrossEntropy

LOADER = [(torch.ones(2, 4), torch.tensor([0, 1]))] * 4


def stoppable(tmp_path, **settings):
    model = nn.Linear(4, 2)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    checkpoints = Checkpoints(tmp_path, student.to_save())
    checkpoints.attach(student)
    stopping = Stopping(**settings)
    stopping.attach(student)
    return student, stopping, checkpoints


def saved_step(checkpoints):
    return int(checkpoints.files()[-1].name[5:14])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_and_says_so(tmp_path, number, status):
    student, stopping, checkpoints = stoppable(tmp_path)
    student.add_event_handler(Events.ITERATION_STARTED(once=6), lambda: os.kill(os.getpid(), number))
    completed = []
    student.add_event_handler(Events.COMPLETED, lambda: completed.append(True))
    with stopping:
        student.run(LOADER, max_epochs=3)
    assert student.state.iteration == 6 == saved_step(checkpoints)
    assert (stopping.reason, stopping.status) == (number.name, status)
    assert not completed  # what belongs to the end of a training does not run


def test_a_stop_at_the_last_step_of_an_epoch_still_ends_the_epoch(tmp_path):
    student, stopping, checkpoints = stoppable(tmp_path)
    student.add_event_handler(Events.ITERATION_STARTED(once=8), lambda: os.kill(os.getpid(), signal.SIGTERM))
    ended = []
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda e: ended.append(e.state.epoch))
    with stopping:
        student.run(LOADER, max_epochs=3)
    assert ended == [1, 2] and saved_step(checkpoints) == 8


def test_the_time_limit_stops_with_a_status_of_its_own(tmp_path):
    student, stopping, checkpoints = stoppable(tmp_path, time_limit=0.05)
    student.add_event_handler(Events.ITERATION_STARTED, lambda: time.sleep(0.02))
    with stopping:
        student.run(LOADER, max_epochs=100)
    assert stopping.status == 75 and stopping.reason == "time limit"
    assert 2 <= student.state.iteration < 100 and saved_step(checkpoints) == student.state.iteration


def test_a_second_interrupt_does_not_wait(tmp_path):
    student, stopping, _ = stoppable(tmp_path)

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    student.add_event_handler(Events.ITERATION_STARTED(once=2), twice)
    with pytest.raises(KeyboardInterrupt), stopping:
        student.run(LOADER, max_epochs=3)


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with Stopping():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_work_that_is_no_engine_asks_by_itself():
    with Stopping(60.0) as stopping:
        assert not stopping.asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.asked() and (stopping.reason, stopping.status) == ("SIGTERM", 143)
    with Stopping(1e-9) as stopping:
        assert stopping.asked() and (stopping.reason, stopping.status) == ("time limit", 75)
