"""Whom a run is held against, and how often a network is looked through. The numbers: `tests/cli/test_compare.py`."""

import json
from pathlib import Path

import pytest
import torch

from ignite_kd import models
from ignite_kd.comparison import compare
from ignite_kd.errors import UserError
from ignite_kd.files import digest_of
from ignite_kd.models import MLP
from ignite_kd.weights import save_weights

FEW = {"images": 40, "device": "cpu"}


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def file(name, seed=0, model="mlp_8", **card):
    torch.manual_seed(seed)
    save_weights(name, models.build(model, 10).state_dict(), {"model": model, "dataset": "shapes"} | card)
    return name


def taught(name, weights, teacher, status="finished"):
    """A run's folder without checkpoints."""
    Path(name).mkdir()
    plan = {"student": "mlp_8", "dataset": "shapes", "recipe": {}, "teacher_path": teacher, "state_dict_path": weights}
    identity = {"teacher_sha256": digest_of(teacher)}
    record = {"plan": plan | {"max_epochs": 9}, "identity": identity, "epochs": 4, "status": status}
    Path(name, "run.json").write_text(json.dumps(record))
    return name


def partners(found):
    return [(row.name, row.teacher, row.alignment and row.alignment.other) for row in found.rows]


def test_each_run_has_its_own_teacher_and_who_had_none_the_first_one():
    one, other = file("one.th", 1), file("other.th", 2, "mlp_9")
    runs = [file("alone.th", 3), taught("a", file("a.th", 4), one), taught("b", file("b.th", 5), other)]
    assert partners(compare(runs, **FEW)) == [("alone.th", "one.th", "one.th"), ("a",) + ("one.th",) * 2,
                                              ("b",) + ("other.th",) * 2]  # fmt: skip
    assert {row.teacher for row in compare(runs, teacher=other, **FEW).rows} == {"other.th"}


def test_whose_teacher_is_not_known_is_held_against_no_strangers():
    runs = [file("kd.th", 3, teacher="mlp_9"), taught("a", file("a.th", 4), file("one.th", 1))]
    found = compare(runs, **FEW)
    assert partners(found)[0] == ("kd.th", None, None) and "which mlp_9 taught it" in found.notes[0]


def test_a_network_that_gives_no_numbers_is_told_of():
    weights = models.build("mlp_8", 10).state_dict()
    weights["fc.weight"] = torch.full((10, 8), 3e38)
    weights["fc.bias"] = torch.full((10,), 3e38)
    save_weights("huge.th", weights, {"model": "mlp_8", "dataset": "shapes"})
    found = compare(["huge.th"], **FEW)
    assert any(
        "huge.th gives logits that are no numbers for" in note and "of 40 images" in note for note in found.notes
    )


def test_a_teacher_that_does_not_take_such_images_is_one_line():
    torch.save(models.build("torchvision:alexnet", 10).state_dict(), "alexnet.pth")
    with pytest.raises(UserError, match="alexnet does not take images of 32×32"):
        compare([file("a.th", 1)], teacher="alexnet.pth", **FEW)


def test_without_a_teacher_stages_are_aligned_with_the_references():
    found = compare([file("a.th", 1), file("b.th", 2)], reference="b.th", **FEW)
    assert partners(found) == [("a.th", None, "b.th"), ("b.th", None, None)]


def test_the_weights_of_a_best_epoch_are_held_against_the_results_of_that_epoch():
    (row,) = compare([file("a.th", 1)], device="cpu").rows
    results = {"test": {"last": {"accuracy": 0.99}, "best": {"accuracy": row.accuracy}}}
    card = {"results": results, "epochs": 9, "epoch": 4}
    assert "says test accuracy 99.00%" in compare([file("last.th", 1, **card)], device="cpu").notes[0]
    found = compare([file("best.th", 1, which="best", **card)], device="cpu")
    assert (found.notes, found.rows[0].recorded.epochs) == ((), 4)


def test_equal_weights_are_looked_through_once(monkeypatch):
    teacher = file("teacher.th", 1)
    file("copy.th", 1)
    looked = []
    see = MLP.represent
    monkeypatch.setattr(models, "check_name", lambda *_: None)  # which tries another network of that name
    monkeypatch.setattr(MLP, "represent", lambda self, images: looked.append(len(images)) or see(self, images))
    found = compare(["copy.th", taught("run", file("run.th", 2), teacher)], **FEW)
    assert looked == [40, 40]
    assert partners(found) == [("copy.th", "copy.th", "copy.th"), ("run", "copy.th", "copy.th")]
    assert found.rows[0].agreement.same == 1


def test_networks_of_other_recipes_see_images_as_they_learned_them():
    zoo = {"quirks": {"normalisation": "zoo"}}
    alone = compare([file("zoo.th", 1, **zoo)], **FEW).rows[0]
    beside = compare([file("usual.th", 1), "zoo.th"], **FEW).rows
    assert beside[1].calibration.nll == alone.calibration.nll
    assert beside[0].calibration.nll != alone.calibration.nll  # though the weights are equal
    assert beside[1].alignment.same()["pooled"] < 1 - 1e-6


def test_a_run_that_was_stopped_says_so():
    (note,) = compare([taught("run", file("run.th"), file("teacher.th", 1), status="stopped")], **FEW).notes
    assert note == "run: stopped; its weights are those after 4 of 9 epochs"
