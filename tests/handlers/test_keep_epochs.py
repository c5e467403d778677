import hashlib
import os

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.errors import RunFailed
from ignite_kd.handlers import Checkpoints, KeepEpochs
from ignite_kd.heads import CrossEntropy
from ignite_kd.weights import load_weights

LOADER = [(torch.linspace(-1, 1, 32).reshape(4, 8) * (i + 1), torch.tensor([0, 1, 0, 1])) for i in range(4)]
LAYERS = ["0.weight", "2.weight"]


class Seekable(list):
    """Goes on where the student is."""

    def seek(self, iteration):
        self.start = iteration % len(self)

    def __iter__(self):
        for place in range(self.start, len(self)):
            if place == len(self) - 1:
                self.start = 0
            yield self[place]


class Killed(Exception):
    pass


def new_student():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 2))
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    CrossEntropy().attach(student)
    return student


def keeping(folder, epochs=(0, 2, 3)):
    student, history = new_student(), KeepEpochs(folder, epochs)
    history.attach(student)
    return student, history


def path_in(folder):
    return torch.load(folder / "weight-path.pt", weights_only=True)


def content(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_the_weights_after_the_given_epochs_are_there_and_no_others(tmp_path):
    student, _ = keeping(tmp_path, (0, 2, 9))
    seen = {}

    def look(student):
        seen[student.state.epoch] = {name: t.clone() for name, t in student.model.state_dict().items()}

    student.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, look)
    student.run(LOADER, max_epochs=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0000.th", "epoch-0002.th", "weight-path.pt"]
    for epoch in (0, 2):
        other = new_student().model
        load_weights(other, tmp_path / f"epoch-{epoch:04d}.th")
        assert all(torch.equal(t, seen[epoch][name]) for name, t in other.state_dict().items())


def test_the_path_is_the_sum_of_the_steps_and_where_it_led(tmp_path):
    """All written out from copies of the weights, one a step."""
    student, _ = keeping(tmp_path)
    copies = []

    def copy(student):
        copies.append([dict(student.model.named_parameters())[name].detach().double().clone() for name in LAYERS])

    student.add_event_handler(Events.STARTED | Events.ITERATION_COMPLETED, copy)
    student.run(LOADER, max_epochs=3)
    found = path_in(tmp_path)
    assert found["layers"] == LAYERS

    def norms(tensors):
        first, second = (tensor.norm() for tensor in tensors)
        return torch.stack([torch.stack([first, second]), torch.stack([first, (first**2 + second**2).sqrt()])])

    def apart(one, other):
        return norms([a - b for a, b in zip(one, other, strict=True)])

    torch.testing.assert_close(found["initial"], norms(copies[0]), rtol=1e-6, atol=0)
    for epoch in range(3):
        steps = sum(apart(copies[4 * epoch + i + 1], copies[4 * epoch + i]) for i in range(4))
        torch.testing.assert_close(found["path"][epoch, 0], steps, rtol=1e-5, atol=0)
        led = apart(copies[4 * epoch + 4], copies[4 * epoch])
        torch.testing.assert_close(found["path"][epoch, 1], led, rtol=1e-5, atol=0)
    assert (found["path"][:, 0] > found["path"][:, 1]).all()  # ways are longer than where they lead


@pytest.mark.parametrize("step", [2, 4, 6, 8])
def test_a_run_that_was_killed_and_resumed_leaves_the_same_history(tmp_path, step):
    whole, _ = keeping(tmp_path / "whole")
    whole.run(Seekable(LOADER), max_epochs=3)

    def attach(folder):
        student, history = keeping(folder)
        checkpoints = Checkpoints(folder / "checkpoints", student.to_save() | {"history": history}, seconds=0.0)
        checkpoints.attach(student)
        return student, checkpoints

    killed, _ = attach(tmp_path / "part")

    def kill():
        raise Killed

    killed.add_event_handler(Events.ITERATION_COMPLETED(once=step), kill)
    with pytest.raises(Killed):
        killed.run(Seekable(LOADER), max_epochs=3)
    resumed, checkpoints = attach(tmp_path / "part")
    checkpoints.load_latest()
    resumed.run(Seekable(LOADER), max_epochs=3)
    kept = content(tmp_path / "whole")
    assert len(kept) == 4
    assert content(tmp_path / "part") == kept


def test_training_is_not_disturbed(tmp_path):
    student, _ = keeping(tmp_path)
    student.run(LOADER, max_epochs=2)
    plain = new_student()
    plain.run(LOADER, max_epochs=2)
    assert all(
        torch.equal(a, b)
        for a, b in zip(student.model.state_dict().values(), plain.model.state_dict().values(), strict=True)
    )


def test_a_full_disk_is_said_in_a_line_and_leaves_what_was_there(tmp_path, monkeypatch):
    student, _ = keeping(tmp_path)
    student.run(LOADER, max_epochs=1)
    before = content(tmp_path)

    def full(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunFailed, match="could not be written: No space left"):
        student.run(LOADER, max_epochs=2)
    assert content(tmp_path) == before
