import shutil
from pathlib import Path

import pytest
from commands import call

from ignite_kd.cli.train_sigma import command
from ignite_kd.concepts.sigma import read_sigma
from ignite_kd.concepts.store import Store

QUICK = "--sigma_size 4 --batch_size 8 --effect_num 3 --pic_num 10 --device cpu --dataset shapes --model mlp_8"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    words = "train-without-transfer --dataset shapes --samples-per-class 10 --device cpu --compile off --max-epochs 2 "
    words += "--keep-epochs 0,2 --recipe vid,batch_size=50,validation_images=100 --model mlp_8"
    done = call(words, "--state-dict-path", folder / "net.th", "--output-dir", folder / "run")
    assert done.status == 0, done.err
    return folder


@pytest.fixture(autouse=True)
def workplace(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")


def refused(words, *expected):
    done = call(f"train-sigma {words}")
    assert (done.status, done.err.count("\n")) == (2, 1) and done.err.startswith("error: "), done.err
    for word in expected:
        assert word in done.err


def test_the_folder_is_called_and_filled_as_the_originals():
    done = call(f"train-sigma --checkpoint_root run --capacity_layer pooled --mode distil_net {QUICK}")
    assert done.status == 0, done.err
    folder = Path("sigma_result/shapes_mlp_8_distil_net_pooled_0415")
    found = read_sigma(folder, "")
    assert len(found.kept) == 3 and done.out.startswith(f"{folder}: 3 kept")
    made = found.store.made
    assert made["engine"] == "sampled" and found.store.epochs == [0, 2] and made["constants"]["entropy_weight"] == 7
    assert sorted(p.name for p in folder.glob("*.txt")) == [
        "effect_name_list.txt", "full_name_list.txt", "non_effect_name_list.txt",
    ]  # fmt: skip
    assert found.notes["masks"] == "object where a cell's top left pixel is"


def test_its_numbers_are_those_of_the_maps():
    words = f"--checkpoint-root run --capacity-layer logits {QUICK} --engine linear --output-dir out"
    words += " --lambda-init 6 --threshold_entropy -2.9 --lr 1e-5 --epoch 70 --epoch_break 30 --sigma_init_decay 0.02"
    done = call(f"train-sigma {words} --pick_sample False --sigma_iteration 2 --fore_expand --sigma-upsample-size 6")
    assert done.status == 0, done.err
    constants = Store.there("out/maps.pt").made["constants"]
    wanted = {"grid": 4, "entropy_weight": 6.0, "threshold": -2.9, "learning_rate": 1e-5, "steps": 70}
    wanted |= {"check_after": 40, "first_sigma": 0.02}
    assert constants.items() >= wanted.items() and Path("out/maps-1.pt").exists()
    assert "nats a cell" in read_sigma("out", "").notes["deviation"]


def test_sigma_that_never_reaches_the_threshold_is_kept_and_counted():
    words = f"--checkpoint-root run --capacity-layer pooled {QUICK} --engine linear --output-dir out"
    assert call(f"train-sigma {words} --threshold-entropy 1.4").status == 0
    found = read_sigma("out", "")
    assert found.measured("one", found.kept).never == 2 * len(found.kept) > 0


def test_a_time_limit_stops_and_the_same_command_goes_on():
    words = f"train-sigma --checkpoint-root run --capacity-layer pooled {QUICK} --output-dir out"
    done = call(f"{words} --time-limit 0.00001")
    assert done.status == 75 and "the same command goes on" in done.err
    assert call(words).status == 0 and read_sigma("out", "").kept


def test_every_mistake_is_one_line():
    refused("", "--checkpoint-root is missing")
    refused(f"--checkpoint-root nowhere {QUICK}", "cannot read nowhere")
    refused(f"--checkpoint-root run {QUICK}", "unknown layer of mlp_8 'conv'", "pooled")
    refused("--checkpoint-root run --capacity-layer pooled --model vgg16", "--model vgg16", "has mlp_8")
    refused("--checkpoint-root run --capacity-layer pooled --dataset CUB", "--dataset CUB", "has shapes")
    refused("--checkpoint-root run --epoch 20", "--epoch-break should be below --epoch, 20")
    refused("--checkpoint-root run --threshold-entropy low", "--threshold-entropy", "float")
    refused("--checkpoint-root run --pick-sample maybe", "--pick-sample", "boolean")
    refused("--checkpoint-root run --mask-dir masks", "--mask-dir needs --dataset")


def test_its_flags():
    found = {parameter.opts[0]: parameter.to_info_dict()["default"] for parameter in command.params}
    assert found == {
        "--model": "alexnet", "--dataset": "VOC", "--classes": None, "--mode": "label_net", "--date": "0415",
        "--capacity-layer": "conv", "--checkpoint-root": None, "--lr": None, "--batch-size": 96, "--epoch": 80,
        "--epoch-break": 20, "--sigma-init-decay": 0.01, "--sigma-size": 16, "--sigma-upsample-size": 18,
        "--fore-expand": False, "--image-size": 224, "--pic-num": 500, "--pic-seed": 0, "--effect-num": 50,
        "--pick-sample": True, "--Top10": False, "--sigma-iteration": 1, "--seed": 0, "--workers": 8,
        "--print-freq": 5, "--threshold-entropy": -2.8, "--threshold-feature": 1.5, "--lambda-init": None,
        "--lambda-change-ratio": 0.5, "--checkpoint-step": 3, "--gpu": "0",
        "--data-dir": None, "--mask-dir": None, "--engine": "sampled", "--check": 4, "--output-dir": None,
        "--device": "auto", "--time-limit": None,
    }  # fmt: skip
