import json
import shutil

import pytest
import torch

from ignite_kd import models
from ignite_kd.concepts.subject import Subject
from ignite_kd.errors import UserError
from ignite_kd.weights import save_weights


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = models.build("mlp_8", 10)
    save_weights(tmp_path / "net.th", network.state_dict(), {"model": "mlp_8", "dataset": "shapes", "epochs": 7})
    return tmp_path / "net.th"


def same(network, state):
    return all(torch.equal(t, state[name]) for name, t in network.state_dict().items())


def test_a_run_with_a_history_is_all_of_its_checkpoints(run_folder):
    subject = Subject(run_folder)
    assert subject.epochs == [0, 1, 3] and subject.cache == run_folder / "concepts"
    network = subject.network(10, 32)
    for epoch in subject.epochs:
        subject.load(network, epoch)
        assert same(network, torch.load(run_folder / "history" / f"epoch-{epoch:04d}.th", weights_only=True))
    assert len({subject.digest(epoch) for epoch in subject.epochs}) == 3
    assert subject.identity["student"] == "mlp_8" and subject.identity["seed"] == 0
    about = subject.about()
    assert (about["network"], about["loss"], about["seed"], about["epochs"]) == ("mlp_8", "1 ce", 0, 3)
    assert 0 < about["test accuracy"] < 1 and about["folder"] == str(run_folder)
    few = subject.at([3, 0])
    assert few.epochs == [0, 3] and subject.epochs == [0, 1, 3]
    with pytest.raises(UserError, match="did not keep epoch 2; it kept 0, 1, 3"):
        subject.at([0, 2])


def test_the_accuracy_is_that_of_the_weights_that_are_looked_at(run_folder, tmp_path):
    assert Subject(run_folder).at([0, 1]).about()["test accuracy"] is None
    results = {"test": {"last": {"accuracy": 0.5}, "best": {"accuracy": 0.75}}}
    card = {"model": "mlp_8", "dataset": "shapes", "results": results, "which": "best"}
    save_weights(tmp_path / "best.th", models.build("mlp_8", 10).state_dict(), card)
    assert Subject(tmp_path / "best.th").about()["test accuracy"] == 0.75


def test_distances_are_those_of_the_kept_epochs(run_folder):
    subject = Subject(run_folder)
    name, *_ = subject.weights
    whole = subject.history.path(name)
    found = subject.distances(name, up_to=False)
    assert found.tolist() == pytest.approx([0, whole[0].item(), whole.sum().item()])
    assert (subject.distances(name, False, "epochs")[1:] < found[1:]).all()
    second = subject.weights[1]
    moved = subject.moved(second, False)
    assert torch.equal(moved["distances"], subject.distances(second, False))
    assert torch.equal(moved["epoch_distances"], subject.distances(second, False, "epochs"))
    assert torch.equal(moved["whole_distances"], subject.distances(second, True))
    assert "whole_distances" not in subject.moved(second, True)  # it would be the same again


def test_a_run_without_a_history_is_its_last_weights(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "history")
    subject, network = Subject(tmp_path / "run"), None
    assert subject.epochs == [3] and subject.weights == []
    network = subject.network(10, 32)
    subject.load(network, 3)
    assert same(network, torch.load(run_folder / "history" / "epoch-0003.th", weights_only=True))
    assert subject.at([0, 1]).epochs == [3]


def test_a_file_of_weights_is_one_checkpoint(weights):
    subject = Subject(weights)
    assert subject.epochs == [7] and subject.identity is None and subject.history is None
    assert subject.cache == weights.with_name("net.th.concepts")
    network = subject.network(10, 32)
    subject.load(network, 7)
    assert same(network, torch.load(weights, weights_only=True))
    card = json.loads(weights.with_name("net.th.json").read_text()) | {"recipe": "vid", "seed": 4}
    weights.with_name("net.th.json").write_text(json.dumps(card))
    about = Subject(weights).about()
    assert (about["file"], about["recipe"], about["seed"]) == (str(weights), "vid", 4)
    weights.with_name("net.th.json").unlink()
    assert Subject(weights).epochs == [0]  # nobody says how many


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no run's folder"):
        Subject(tmp_path)
    with pytest.raises(UserError, match="cannot read"):
        Subject(tmp_path / "nothing.th")


def test_a_history_is_enough(run_folder, tmp_path):
    """What somebody copies who wants to explain a run: neither checkpoints nor the file of its last weights."""
    for part in ("history", "run.json", "metrics.jsonl"):
        (shutil.copytree if part == "history" else shutil.copy)(run_folder / part, tmp_path / part)
    record = json.loads((tmp_path / "run.json").read_text())
    record["plan"]["state_dict_path"] = "elsewhere.th"
    (tmp_path / "run.json").write_text(json.dumps(record))
    subject = Subject(tmp_path)
    assert subject.epochs == [0, 1, 3] and subject.about()["epochs"] == 3


def test_a_history_without_a_kept_epoch_is_none(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    for path in (tmp_path / "run" / "history").glob("epoch-*.th"):
        path.unlink()
    assert Subject(tmp_path / "run").epochs == [3]
