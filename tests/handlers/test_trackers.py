import sys

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.errors import UserError
from ignite_kd.handlers import StepSchedule, tracker
from ignite_kd.heads import CrossEntropy

LOADER = [(torch.ones(2, 4), torch.tensor([0, 1]))] * 3


def tracked(folder):
    model = nn.Linear(4, 2)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    StepSchedule(0.5, (1, 2), 0.5).attach(student)

    def measure(student):
        student.state.metrics["train/loss"] = 1 / student.state.epoch
        if student.state.epoch == 2:
            student.state.metrics["validation/accuracy"] = 0.75
        else:
            student.state.metrics.pop("validation/accuracy", None)

    student.add_event_handler(Events.EPOCH_COMPLETED, measure)
    tracker("tensorboard", folder).attach(student)
    return student


def scalars(folder):
    """What tensorboard itself reads there."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_every_metric_and_the_learning_rate_at_its_epoch(tmp_path):
    tracked(tmp_path / "board").run(LOADER, max_epochs=3)
    assert scalars(tmp_path / "board") == {
        "train/loss": [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))],
        "validation/accuracy": [(2, 0.75)],
        "learning_rate": [(1, 0.5), (2, 0.25), (3, 0.125)],
    }


def test_what_was_tracked_before_a_stop_is_there(tmp_path):
    student = tracked(tmp_path)
    student.add_event_handler(Events.ITERATION_COMPLETED(once=7), lambda: student.terminate(skip_completed=True))
    student.run(LOADER, max_epochs=9)
    assert scalars(tmp_path)["learning_rate"] == [(1, 0.5), (2, 0.25)]


def test_a_crash_loses_no_epoch(tmp_path):
    student = tracked(tmp_path)

    def crash():
        found.append(scalars(tmp_path))
        raise KeyboardInterrupt

    found = []
    student.add_event_handler(Events.ITERATION_STARTED(once=7), crash)
    with pytest.raises(KeyboardInterrupt):
        student.run(LOADER, max_epochs=3)
    assert found[0]["train/loss"] == [(1, 1.0), (2, 0.5)]


def test_without_tensorboard_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"needs tensorboard; install it with: pip install tensorboard"):
        tracker("tensorboard", tmp_path)


def test_an_unknown_tracker_offers_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"unknown tracker 'tensorbord'; did you mean 'tensorboard'\?"):
        tracker("tensorbord", tmp_path)
    assert not list(tmp_path.iterdir())
