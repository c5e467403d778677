import torch

from ignite_kd import models
from ignite_kd.bench.methods import prove_methods
from ignite_kd.handlers import RunRecord
from ignite_kd.weights import save_weights


def prove(folder, *names):
    torch.manual_seed(0)
    save_weights(folder / "teacher.th", models.build("resnet8", 10).state_dict(), {})
    plan = {"dataset": "shapes", "samples_per_class": 15, "max_epochs": 2, "device": "cpu", "compile": "off"}
    return list(prove_methods("resnet8", str(folder / "teacher.th"), "resnet8", folder / "runs", names, **plan))


def test_each_method_is_proved_anew_by_the_code_that_is_there(tmp_path):
    one, other = prove(tmp_path, "kd", "at")
    assert (one.name, other.name) == ("kd", "at") and not (one.failed or other.failed)
    lines = RunRecord(tmp_path / "runs" / "kd").read()
    assert one.loss == (lines[0]["train/loss"], lines[1]["train/loss"])
    assert one.term == tuple(line["train/loss.kd"] / 0.9 for line in lines)
    assert one.falls() == (one.term[1] < one.term[0] and one.loss[1] < one.loss[0])
    (again,) = prove(tmp_path, "kd")
    assert (again.term, again.loss, again.accuracy) == (one.term, one.loss, one.accuracy)
    assert len(RunRecord(tmp_path / "runs" / "kd-2").read()) == 2  # trained, not looked up


def test_what_cannot_be_trained_is_told_and_no_fall(tmp_path):
    torch.save({}, tmp_path / "empty.th")
    plan = {"dataset": "shapes", "max_epochs": 1, "device": "cpu", "compile": "off"}
    (found,) = prove_methods("resnet8", str(tmp_path / "empty.th"), "resnet8", tmp_path / "runs", ["kd"], **plan)
    assert "empty.th" in found.failed and not found.falls()
