import os

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.errors import RunFailed
from ignite_kd.handlers import Evaluate, KeepBest
from ignite_kd.heads import CrossEntropy
from ignite_kd.weights import load_weights

LOADER = [(torch.ones(2, 1), torch.tensor([0, 1]))] * 2
JUDGED = [(torch.arange(1.0, 11).reshape(10, 1), torch.ones(10, dtype=torch.long))]


def bias(accuracy):
    """Image i of 1 … 10, all of class 1, is called 1 where i > 10.5 - 10 accuracy."""
    return accuracy * 10 - 10.5


def kept(path, accuracies):
    """A student whose validation accuracies are these; its second bias tells its weights apart."""
    model = nn.Linear(1, 2)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.0))
    CrossEntropy().attach(student)

    def begin(student):
        epoch = student.state.epoch
        model.weight.data = torch.tensor([[0.0], [1.0]]) + 1000 * epoch
        model.bias.data = torch.tensor([0.0, bias(accuracies[epoch - 1])])

    student.add_event_handler(Events.EPOCH_STARTED, begin)
    evaluation = Evaluate(JUDGED)
    evaluation.attach(student)
    best = KeepBest(evaluation, path)
    best.attach(student)
    return student, evaluation, best


def epoch_in(path):
    model = nn.Linear(1, 2)
    load_weights(model, path)
    return round(model.weight[0].item() / 1000)


def test_the_weights_of_the_best_epoch_stay_the_earliest_of_equals(tmp_path):
    path = tmp_path / "checkpoints" / "best.th"
    student, _, best = kept(path, [0.2, 0.7, 0.5, 0.7, 0.8, 0.1])
    found = []
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda: found.append((epoch_in(path), best.epoch)))
    student.run(LOADER, max_epochs=6)
    assert found == [(1, 1), (2, 2), (2, 2), (2, 2), (5, 5), (5, 5)]
    assert best.accuracy == pytest.approx(0.8)
    assert [p.name for p in path.parent.iterdir()] == ["best.th"]


def test_a_resumed_run_keeps_what_was_better_before(tmp_path):
    first, evaluation, _ = kept(tmp_path / "best.th", [0.2, 0.7, 0.5, 0.8])
    first.run(LOADER, max_epochs=2)
    resumed, again, best = kept(tmp_path / "best.th", [0.2, 0.7, 0.5, 0.8])
    resumed.load_state_dict(first.state_dict())
    again.load_state_dict(evaluation.state_dict())
    resumed.run(LOADER, max_epochs=3)
    assert (best.epoch, epoch_in(tmp_path / "best.th")) == (2, 2)
    resumed.run(LOADER, max_epochs=4)
    assert (best.epoch, epoch_in(tmp_path / "best.th")) == (4, 4)


def test_a_crash_while_writing_leaves_the_weights_before(tmp_path, monkeypatch):
    student, _, _ = kept(tmp_path / "best.th", [0.2, 0.7])
    student.run(LOADER, max_epochs=1)

    def crash(*names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            student.run(LOADER, max_epochs=2)
    assert epoch_in(tmp_path / "best.th") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["best.th"]


def test_a_full_disk_ends_the_run_in_a_line(tmp_path, monkeypatch):
    student, _, _ = kept(tmp_path / "best.th", [0.2, 0.7])
    student.run(LOADER, max_epochs=1)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunFailed, match=r"best\.th could not be written: No space left on device; the best epoch"):
            student.run(LOADER, max_epochs=2)
    assert epoch_in(tmp_path / "best.th") == 1
