import hashlib
import os

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.errors import RunFailed
from ignite_kd.handlers import Checkpoints, checkpoint
from ignite_kd.heads import VID, CrossEntropy

LOADER = [(torch.linspace(-1, 1, 32).reshape(4, 8) * (i + 1), torch.tensor([0, 1, 0, 1])) for i in range(4)]


def new_student():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 2))
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    CrossEntropy().attach(student)
    return student


def trained(tmp_path, epochs=3, **settings):
    student = new_student()
    checkpoints = Checkpoints(tmp_path, student.to_save(), **settings)
    checkpoints.attach(student)
    student.run(LOADER, max_epochs=epochs)
    return student, checkpoints


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_file_is_named_by_its_step_and_the_checksum_of_its_content(tmp_path):
    _, checkpoints = trained(tmp_path)
    files = checkpoints.files()
    assert [int(path.name[5:14]) for path in files] == [8, 12]
    for path in files:
        assert path.stem[15:] == hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def test_a_loaded_student_goes_on_as_if_nothing_had_happened(tmp_path):
    whole, _ = trained(tmp_path / "whole", epochs=3)
    trained(tmp_path / "part", epochs=2)
    resumed = new_student()
    checkpoints = Checkpoints(tmp_path / "part", resumed.to_save())
    assert checkpoints.load_latest() == checkpoints.files()[-1]
    assert (resumed.state.iteration, resumed.state.epoch) == (8, 2)
    resumed.run(LOADER, max_epochs=3)
    assert same(whole.model, resumed.model)


@pytest.mark.parametrize("damage", ["torn", "foreign", "empty"])
def test_a_damaged_file_is_named_kept_and_the_one_before_is_used(tmp_path, damage):
    _, checkpoints = trained(tmp_path)
    newest = checkpoints.files()[-1]
    content = newest.read_bytes()
    newest.write_bytes({"torn": content[: len(content) // 2], "foreign": b"x" * 100, "empty": b""}[damage])
    resumed = new_student()
    checkpoints = Checkpoints(tmp_path, resumed.to_save())
    checkpoints.attach(resumed)
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged"):
        checkpoints.load_latest()
    assert resumed.state.iteration == 8
    assert newest.with_suffix(".damaged").exists()
    resumed.run(LOADER, max_epochs=3)
    assert checkpoints.files()[-1] == newest  # the same bits were written again


def test_who_looks_on_while_a_training_replaces_its_checkpoints_finds_the_newest(tmp_path, monkeypatch):
    student, checkpoints = trained(tmp_path, epochs=2)
    read = checkpoint._read

    def replaced_meanwhile(path):
        monkeypatch.setattr(checkpoint, "_read", read)
        student.run(LOADER, max_epochs=4)
        return read(path)

    monkeypatch.setattr(checkpoint, "_read", replaced_meanwhile)
    path, _ = checkpoint.newest(tmp_path, pytest.fail)
    assert path == checkpoints.files()[-1] and "step-000000016" in path.name


def test_nothing_is_loaded_from_an_empty_folder(tmp_path):
    student = new_student()
    assert Checkpoints(tmp_path / "none", student.to_save()).load_latest() is None


def test_foreign_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "step-notes.pt").write_text("mine")
    trained(tmp_path)
    assert (tmp_path / "step-notes.pt").read_text() == "mine"


def test_within_a_long_epoch_it_saves_too_but_never_at_the_last_step_of_one(tmp_path):
    student = new_student()
    saved = []
    checkpoints = Checkpoints(tmp_path, student.to_save(), seconds=0.0)
    checkpoints.attach(student)
    student.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: saved.append(int(checkpoints.files()[-1].name[5:14]) == e.state.iteration)
    )
    student.run(LOADER, max_epochs=2)
    assert saved == [True, True, True, False] * 2
    assert student.state.iteration == int(checkpoints.files()[-1].name[5:14])


def test_a_stop_in_an_epoch_is_saved(tmp_path):
    student = new_student()
    checkpoints = Checkpoints(tmp_path, student.to_save())
    checkpoints.attach(student)
    student.add_event_handler(Events.ITERATION_COMPLETED(once=6), lambda e: e.terminate())
    student.run(LOADER, max_epochs=3)
    assert int(checkpoints.files()[-1].name[5:14]) == 6


def test_the_state_of_heads_is_in_it(tmp_path):
    student = new_student()
    vid = VID({"pooled": 2}, {"pooled": 3})
    vid.attach(student)
    checkpoints = Checkpoints(tmp_path, student.to_save())
    student.state.iteration, student.state.epoch_length, student.state.max_epochs = 4, 4, 1
    checkpoints.save(student)
    other = new_student()
    torch.manual_seed(1)
    twin = VID({"pooled": 2}, {"pooled": 3})
    twin.attach(other)
    assert not same(vid, twin)
    Checkpoints(tmp_path, other.to_save()).load_latest()
    assert same(vid, twin)


def test_a_state_that_is_not_worth_keeping_is_not_written(tmp_path):
    def refuse():
        raise RunFailed("the loss 'ce' became nan")

    with pytest.raises(RunFailed, match="ce"):
        trained(tmp_path, check=refuse)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_checkpoints_before(tmp_path, monkeypatch):
    student, checkpoints = trained(tmp_path)
    before = checkpoints.files()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    student.state.iteration += 1
    with pytest.raises(RunFailed, match="No space left"):
        checkpoints.save(student)
    assert checkpoints.files() == before
    assert sorted(tmp_path.iterdir()) == before  # no half-written file is left behind


def test_a_second_run_is_saved_too(tmp_path):
    student = new_student()
    checkpoints = Checkpoints(tmp_path, student.to_save())
    checkpoints.attach(student)
    loader = [(torch.randn(4, 8), torch.tensor([0, 1, 0, 1]))]
    for _ in range(2):
        student.run(loader, max_epochs=1)
    (saved,) = checkpoints.files()
    state = torch.load(saved, weights_only=True)
    assert all(torch.equal(state["model"][name], tensor) for name, tensor in student.model.state_dict().items())


def test_what_a_kill_left_half_written_is_swept_away(tmp_path):
    _, checkpoints = trained(tmp_path)
    half, other = tmp_path / ".step-000000016-0123.pt.abc.part", tmp_path / ".mine.part"
    half.write_bytes(b"half")
    other.write_bytes(b"somebody's")
    assert checkpoints.load_latest() == checkpoints.files()[-1]
    assert not half.exists() and other.exists()
