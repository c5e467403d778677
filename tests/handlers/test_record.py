import json
import os
import platform

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.handlers import RunRecord, StepSchedule, record
from ignite_kd.handlers.record import versions
from ignite_kd.heads import CrossEntropy

LOADER = [(torch.ones(2, 4), torch.tensor([0, 1]))] * 3


def recorded(folder):
    model = nn.Linear(4, 2)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    StepSchedule(0.5, (1, 2), 0.5).attach(student)
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda s: s.state.metrics.update({"x": s.state.epoch / 4}))
    found = RunRecord(folder)
    found.attach(student)
    return student, found


def refuse_to_replace(*names):
    raise OSError(28, "No space left on device")


def test_every_epoch_is_a_line_of_json(tmp_path):
    student, found = recorded(tmp_path / "run")
    student.run(LOADER, max_epochs=3)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert found.read() == lines
    seconds = [line.pop("seconds") for line in lines]
    assert lines == [
        {"epoch": e, "iteration": 3 * e, "learning_rate": rate, "x": e / 4}
        for e, rate in ((1, 0.5), (2, 0.25), (3, 0.125))
    ]
    assert all(0 <= s < 60 for s in seconds)


def test_the_seconds_are_those_of_the_epoch(tmp_path, monkeypatch):
    clock = iter([0.0, 10.0, 12.5, 20.0, 27.25])  # made, epoch 1 begins and ends, epoch 2 begins and ends
    monkeypatch.setattr("ignite_kd.handlers.record.time.monotonic", lambda: next(clock))
    found = RunRecord(tmp_path)
    model = nn.Linear(4, 2)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    found.attach(student)
    student.run(LOADER, max_epochs=2)
    assert [line["seconds"] for line in found.read()] == [2.5, 7.25]


def test_there_is_nothing_to_read_before_the_first_epoch(tmp_path):
    assert RunRecord(tmp_path).read() == []
    RunRecord(tmp_path).truncate(0)
    assert not list(tmp_path.iterdir())


def test_truncation_forgets_what_a_resumed_run_does_again(tmp_path):
    student, found = recorded(tmp_path)
    student.run(LOADER, max_epochs=3)
    before = found.read()
    found.truncate(3)
    assert found.read() == before
    found.truncate(1)
    assert found.read() == before[:1]
    found.truncate(0)
    assert found.read() == []


def test_an_epoch_that_is_done_again_replaces_its_line_and_all_later_ones(tmp_path):
    student, found = recorded(tmp_path)
    student.run(LOADER, max_epochs=3)
    again, found = recorded(tmp_path)
    again.run(LOADER, max_epochs=1)
    assert [line["epoch"] for line in found.read()] == [1]


def test_entries_of_the_run_are_set_and_the_others_stay(tmp_path):
    found = RunRecord(tmp_path / "new")
    found.update(status="running", plan={"seed": 1})
    found.update(status="done", accuracy=0.5)
    assert json.loads((tmp_path / "new" / "run.json").read_text()) == {
        "status": "done",
        "plan": {"seed": 1},
        "accuracy": 0.5,
    }


def test_a_full_disk_leaves_what_was_there_and_is_one_line(tmp_path, monkeypatch):
    student, found = recorded(tmp_path)
    found.update(status="running")
    student.run(LOADER, max_epochs=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"run.json", "metrics.jsonl"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse_to_replace)
        with pytest.raises(RunFailed, match=r"metrics\.jsonl could not be written: No space left on device; what was"):
            student.run(LOADER, max_epochs=2)
        with pytest.raises(RunFailed, match=r"run\.json could not be written: No space left on device"):
            found.update(status="done")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_versions_say_what_ran():
    found = versions()
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["python"] == platform.python_version()
    assert {"torchvision", "pytorch-ignite", "numpy", "machine"} <= found.keys()


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    known = record.importlib.metadata.version

    def version(package):
        if package == "ignite-kd":
            raise record.importlib.metadata.PackageNotFoundError(package)
        return known(package)

    monkeypatch.setattr(record.importlib.metadata, "version", version)
    assert "ignite-kd" not in versions() and "torch" in versions()


def test_a_metric_that_json_cannot_hold_does_not_spoil_the_line(tmp_path):
    model = nn.Linear(1, 2)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    odd = {"loss": float("inf"), "table": torch.zeros(2, 2), "one": torch.tensor(0.5)}
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda student: student.state.metrics.update(odd))
    record = RunRecord(tmp_path)
    record.attach(student)
    student.run([(torch.ones(2, 1), torch.tensor([0, 1]))], max_epochs=1)
    (line,) = record.read()
    assert (line["loss"], line["table"], line["one"]) == (None, None, 0.5)


@pytest.mark.parametrize("content", ['{"epoch": 1}\n{"epo', "3\n", "words\n"])
def test_damaged_metrics_are_named(tmp_path, content):
    (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged; restore it"):
        RunRecord(tmp_path).read()


def test_metrics_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged; restore it"):
        RunRecord(tmp_path).read()
