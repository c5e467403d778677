"""The commands of the zoo's read-me (seed 002), on small data."""

import json
from pathlib import Path

import pytest
import torch
from commands import call

from ignite_kd import models

SMALL = "--type shapes --samples-per-class 20 --device cpu --epochs 1 --batch-size 50"
PAIR = "--teacher wideresnet --student resnet --depth 10 --wfactor 2 --tn 1 --sdepth 8 --stn 1"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_two_commands_of_the_read_me_follow_each_other():
    done = call(f"train {SMALL} --model wideresnet --depth 10 --wfactor 2 --tn 1")
    assert done.status == 0, done.err
    assert Path("checkpoints/shapes/wideresnet10_2/Baseline/1/weight.pth").exists()
    done = call(f"distill {SMALL} {PAIR} --distype KD")
    assert done.status == 0, done.err
    folder = Path("checkpoints/shapes/resnet8_distilled_by_wideresnet10_2_1th/KD/1")
    record = json.loads((folder / "run.json").read_text())
    assert record["plan"]["teacher_path"].endswith("wideresnet10_2/Baseline/1/weight.pth")
    assert {term["method"]: term["factor"] for term in record["plan"]["terms"]} == {"ce": 0.1, "kd": 0.9}
    assert record["results"]["test"]["last"].keys() == {"accuracy", "top5", "loss"}
    shown = call(f"distill --test {folder}/weight.pth")
    assert shown.status == 0 and "top-1" in shown.out and "top-5" in shown.out and "1 epochs" in shown.out


@pytest.mark.parametrize("method", ["FN", "NST", "AT", "RKD", "SP", "OD"])
def test_every_method_of_the_zoo_trains(method):
    torch.manual_seed(0)
    path = Path("checkpoint/shapes/wideresnet10_2/Baseline/1/best_weight.pth")  # where the released code reads
    path.parent.mkdir(parents=True)
    state = models.build("wideresnet10_2", 10).state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)  # as DataParallel writes it
    done = call(f"distill {SMALL} {PAIR} --distype {method}")
    assert done.status == 0, done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (f"distill {PAIR} --distype CRD", "possible: KD, FN, NST"),
        (f"distill {PAIR}", "--distype is missing"),
        ("distill --teacher vgg --distype KD", "--teacher takes resnet or wideresnet, not 'vgg'"),
        ("distill --teacher resnet --distype KD", "--depth is missing"),
        (f"distill {PAIR} --distype KD", "there is no trained wideresnet10_2"),
        ("train --depth 20", "--model takes resnet or wideresnet, and is missing"),
        ("train --model resnet --depth 21", "21"),
        ("distill --test nowhere.pth", "nowhere.pth"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message):
    done = call(f"{words} --type shapes")
    assert done.status == 2 and message in done.err, done.err
    assert len(done.err.splitlines()) == 1


def test_milestones_that_were_typed_stay_whatever_the_epochs():
    from ignite_kd.cli.zoo import recipe_of

    flags = dict.fromkeys(
        ("batch_size", "learning_rate", "momentum", "weight_decay", "start_epoch", "ignored_frequency")
    )
    assert recipe_of({"recipe": "zoo,milestones=30+60", "epochs": 100, **flags}).milestones == (30, 60)
    assert recipe_of({"recipe": "zoo", "epochs": 100, **flags}).milestones == (50, 75)
