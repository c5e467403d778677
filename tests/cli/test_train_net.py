"""The first script of the quantification study's read-me (seed 004), on small data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import call
from study_folders import pictures, tiny, tiny_trunk  # noqa: F401

from ignite_kd import models

SMALL = "--model resnet18 --dataset CUB --image-size 64 --batch-size 4 --workers 0 --device cpu --compile off"

pytestmark = pytest.mark.usefixtures("tiny", "pictures")


def record_of(folder):
    return json.loads((Path(folder) / "run.json").read_text())


def test_a_baseline_is_trained_from_nothing_with_the_flags_of_the_original():
    words = "--mode _without_pretrain --date _1018 --epochs 2 --lr 0.01 --lr-down 2 --logspace true --weight-decay 1e-4"
    ignored = "--momentum 0.9 --seed 3 --start-epoch 0 --print-freq 30 --save-per-epoch true --classes 2"
    done = call(f"train-net {words} {ignored} {SMALL}")
    assert done.status == 0, done.err
    folder = Path("trained_model/CUB_resnet18_without_pretrain_1018")
    record = record_of(folder)
    plan, recipe = record["plan"], record["plan"]["recipe"]
    assert (plan["student"], plan["dataset"], plan["data_dir"]) == ("resnet18_fc3", "folder", "./data/CUB/")
    assert (plan["seed"], plan["max_epochs"], plan["image_size"], recipe["views"]) == (3, 2, 64, "squash")
    assert [term["method"] for term in plan["terms"]] == ["ce"]
    rates = [json.loads(line)["learning_rate"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([1e-2, 1e-4])
    assert record["status"] == "finished" and record["results"]["validation"]["last"] is not None
    assert sorted(path.name for path in folder.glob("history/*.th")) == ["epoch-0000.th", "epoch-0002.th"]
    card = json.loads((folder / "last.th.json").read_text())
    assert (card["model"], card["image_size"], card["views"]) == ("resnet18_fc3", 64, "squash")
    measured = call("evaluate", folder / "last.th", "--split", "validation", "--data-dir", "data/CUB", "--json")
    assert measured.status == 0, measured.err
    told = json.loads(measured.out)
    assert told["image_size"] == 64 and not told["notes"]
    assert told["results"]["accuracy"] == record["results"]["validation"]["last"]


def test_a_teacher_starts_from_torchvisions_trunk_and_fresh_layers(monkeypatch):
    trunk = tiny_trunk().state_dict()
    cache = Path("hub/checkpoints")
    cache.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "hub")
    torch.save(trunk, cache / "resnet18-f37072fd.pth")
    for words in ("--mode _pretrain --pretrained hub/checkpoints/resnet18-f37072fd.pth", "--date found"):
        done = call(f"train-net {words} --lr 1e-12 --momentum 0 --weight-decay 0 --epochs 1 {SMALL}")
        assert done.status == 0, done.err
    named, found = (
        torch.load(f"trained_model/CUB_resnet18_{name}/last.th", weights_only=True) for name in ("pretrain", "found")
    )
    assert all(torch.equal(t, found[name]) for name, t in named.items())
    torch.manual_seed(0)
    fresh = models.build("resnet18_fc3", 2).state_dict()
    for name in ("layer4.0.weight", "conv1.weight", "extra.0.weight", "mlp.3.weight"):
        torch.testing.assert_close(named[name], trunk.get(name, fresh.get(name)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model vgg61", "unknown --model 'vgg61'; did you mean 'vgg19'?"),
        ("--mode scratch", "unknown --mode 'scratch'"),
        ("--mode without_pretrain --pretrained x.pth", "leave one of the two out"),
        ("--pretrained nowhere.pth", "nowhere.pth"),
        ("--mode without_pretrain --dataset CUBE", "unknown data set 'CUBE'; did you mean 'CUB'?"),
        ("--mode without_pretrain --dataset VOC", "there is no folder data/VOC/train"),
        ("--mode without_pretrain --classes 200", "200 classes were asked for, but folder in ./data/CUB/ has 2"),
        ("--mode without_pretrain --logspace perhaps", "'perhaps' is not a valid boolean"),
        ("--mode without_pretrain --lr 0", "learning_rate of a recipe should be positive"),
        ("--mode without_pretrain --lr-down -1", "decades of a recipe should not be negative"),
        ("--mode without_pretrain --model alexnet --image-size 48", "alexnet_fc3 needs images of 63 pixels or more"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message):
    done = call(f"train-net {SMALL} {words}")
    assert done.status == 2 and message in done.err, done.err
    assert len(done.err.splitlines()) == 1


def test_where_torchvision_has_no_weights_the_user_is_told_which_to_fetch(monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "hub")
    done = call("train-net --dataset CUB")  # the very command of the read-me
    assert done.status == 2 and len(done.err.splitlines()) == 1
    assert "vgg16-397923af.pth" in done.err and "--pretrained" in done.err and "without_pretrain" in done.err


def test_a_field_of_the_recipe_wins_over_a_default_but_not_over_a_flag(monkeypatch):
    planned = []
    monkeypatch.setattr("ignite_kd.launch.launch", lambda plans, _: planned.append(plans[0].recipe) or 0)
    base = "train-net --mode without_pretrain --dataset VOC --recipe concepts,momentum=0.5,views=strong,decades=3"
    for words in ("", "--momentum 0.7 --logspace false", "--recipe concepts"):
        assert call(f"{base} {words}").status == 0
    one, other, usual = planned
    assert (one.momentum, one.views, one.decades, one.learning_rate) == (0.5, "strong", 3, 1e-3)
    assert (other.momentum, other.decades) == (0.7, 0)
    assert (usual.momentum, usual.views, usual.decades) == (0.9, "squash-crop", 1)


def test_help_has_the_originals_flags_and_does_not_import_torch():
    code = "import sys; sys.argv = ['ignite-kd', 'train-net', '--help']; import ignite_kd.__main__ as m\n"
    code += "try: m.main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    flags = "model mode date lr lr-down logspace batch-size epochs dataset classes workers seed weight-decay momentum"
    for flag in f"{flags} start-epoch resume print-freq save-per-epoch".split():
        assert f"--{flag} " in done.stdout, flag
