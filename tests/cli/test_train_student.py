"""The commands of RepDistiller's and ITRD's read-me files, on small data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import call

from ignite_kd import models
from ignite_kd.recipes import crd

TINY = "--dataset shapes --samples-per-class 2 --device cpu --epochs 1 --batch_size 10 --recipe crd,test_at_end=false"
SMALL = "--dataset shapes --samples-per-class 20 --device cpu --epochs 1 --batch_size 50"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path_t():
    """A teacher's file as RepDistiller writes it."""
    path = Path("save/models/resnet14_vanilla/ckpt_epoch_240.pth")
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save({"epoch": 240, "model": models.build("resnet14", 10).state_dict(), "accuracy": torch.tensor(72.5)}, path)
    return path


def run_of(folder):
    return json.loads((Path("save/student_model") / folder / "run.json").read_text())


def losses_of(folder):
    lines = (Path("save/student_model") / folder / "metrics.jsonl").read_text().splitlines()
    return {key.removeprefix("train/loss.") for key in json.loads(lines[-1]) if key.startswith("train/loss.")}


def test_the_command_of_itrds_read_me_trains(path_t):
    done = call(
        f"train-student --path_t ./{path_t} --model_s resnet8 -b 1.0 -r 1.0 "
        f"--lambda_corr 2.0 --lambda_mutual 1.0 --alpha_it 1.01 {SMALL}"
    )
    assert done.status == 0, done.err
    folder = "S-resnet8_T-resnet14_shapes_r-1.0_b-1.0_1_l_corr-2.0_l_mutual-1.0_alpha-1.01"
    record = run_of(folder)
    assert (record["plan"]["teacher"], record["plan"]["student"], record["plan"]["seed"]) == ("resnet14", "resnet8", 1)
    assert losses_of(folder) == {"ce", "itrd"}
    assert record["plan"]["terms"][1]["options"] == {"lambda_corr": 2.0, "lambda_mutual": 1.0, "alpha_it": 1.01}
    assert (Path("save/student_model") / folder / "resnet8_last.pth").exists()
    assert record["results"]["test"]["last"].keys() == {"accuracy", "top5", "loss"}


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        ("--distill kd -r 0.1 -a 0.9 -b 0", {"ce": 0.1, "kd": 0.9}),
        ("--distill hint -a 0 -b 100", {"ce": 1, "fitnet": 100}),
        ("--distill attention -a 0 -b 1000", {"ce": 1, "at": 1000}),
        ("--distill similarity -b 3000 --kd_T 2 -a 1", {"ce": 1, "kd": 1, "sp": 3000}),
        ("--distill crd -a 1 -b 0.8 --nce_k 32", {"ce": 1, "kd": 1, "crd": 0.8}),
        ("--distill pkt -b 30000 --loss rkd:0.5,angle_factor=0", {"ce": 1, "pkt": 30000, "rkd": 0.5}),
    ],
)
def test_the_commands_of_repdistillers_script_make_its_losses(path_t, words, terms):
    done = call(f"train-student --path_t {path_t} --model_s resnet8 {words} --trial 3 --output-dir out {SMALL}")
    assert done.status == 0, done.err
    record = json.loads(Path("out/run.json").read_text())
    assert {term["method"]: term["factor"] for term in record["plan"]["terms"]} == terms
    assert record["plan"]["seed"] == 3
    line = json.loads(Path("out/metrics.jsonl").read_text())
    assert line["train/loss"] == pytest.approx(sum(line[f"train/loss.{name}"] for name in terms), rel=1e-5)


@pytest.mark.parametrize("method", [name for name in crd.methods() if name not in ("kd", "fsp", "kdsvd")])
def test_every_method_of_the_benchmark_trains_a_cell(path_t, method):
    words = f"--distill {method} -b {crd.factor_of(method)} --init_epochs 1 --nce_k 16 --output-dir out"
    done = call(f"train-student --path_t {path_t} --model_s MobileNetV2 {words} {TINY}")
    assert done.status == 0, done.err
    plan = json.loads(Path("out/run.json").read_text())["plan"]
    term = plan["terms"][1]
    assert (term["method"], term["factor"]) == (method, crd.factor_of(method))
    assert term["warm_up"] == (20 if method in ("reviewkd", "dkd") else 0)


def test_published_options_of_a_pair_reach_the_plan(path_t):
    pair = f"--path_t {path_t} --model_t resnet56 --model_s resnet20"
    assert "looks like resnet14" in call(f"train-student {pair} --distill dkd -b 1 {TINY}").err  # the file is believed
    torch.save({"model": models.build("resnet56", 10).state_dict()}, path_t)
    done = call(f"train-student {pair} --distill dkd -b 1 --output-dir out {TINY}")
    assert done.status == 0, done.err
    assert json.loads(Path("out/run.json").read_text())["plan"]["terms"][1]["options"] == {"beta": 2.0}


def test_a_longer_run_goes_on_from_a_shorter_one(path_t):
    words = f"train-student --path_t {path_t} --model_s resnet8 --loss sp:3000 --output-dir out {TINY}"
    assert call(words).status == 0
    done = call(f"{words} --epochs 2 --resume auto")
    assert done.status == 0, done.err
    assert "after 1 epochs" in done.out and len(Path("out/metrics.jsonl").read_text().splitlines()) == 2
    refused = call(f"{words} --epochs 2 --resume auto --momentum 0.5")
    assert refused.status == 2 and "recipe.momentum was 0.9 and is 0.5." in refused.err


def test_a_trial_of_any_length_is_a_name(path_t):
    done = call(f"train-student --path_t {path_t} --model_s resnet8 --loss sp:1 --trial {'9' * 30} {TINY}")
    assert done.status == 0, done.err


def test_flags_reach_the_recipe_and_the_head(path_t):
    done = call(
        f"train-student --path_t {path_t} --model_s resnet8 --distill hint --b 2 --r 0.5 --hint_layer 3 "
        f"--learning_rate 0.02 --lr_decay_epochs 3,4 --lr_decay_rate 0.5 --weight_decay 0 --momentum 0.8 "
        f"--output-dir out {SMALL}"
    )
    assert done.status == 0, done.err
    plan = json.loads(Path("out/run.json").read_text())["plan"]
    recipe = plan["recipe"]
    assert plan["terms"][1]["options"] == {"stages": "layer3"}
    assert [term["factor"] for term in plan["terms"][:2]] == [0.5, 2]  # --b and --r as in ITRD's list of flags
    assert (recipe["learning_rate"], recipe["milestones"], recipe["decay"]) == (0.02, [3, 4], 0.5)
    assert (recipe["weight_decay"], recipe["momentum"], recipe["batch_size"]) == (0, 0.8, 50)


def test_a_student_starts_from_given_weights(path_t):
    torch.manual_seed(5)
    torch.save(models.build("resnet8", 10).state_dict(), "start.pth")
    words = f"train-student --path_t {path_t} --path_s start.pth --model_s resnet8 --distill kd -a 1 {SMALL}"
    assert call(f"{words} --learning_rate 1e-12 --output-dir out").status == 0
    begun, ended = (torch.load(path, weights_only=True) for path in ("start.pth", "out/resnet8_last.pth"))
    assert torch.allclose(begun["conv1.weight"], ended["conv1.weight"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--distill crd", "--distill crd needs -b, the weight of its loss (published: -b 0.8)"),
        ("", "--distill itrd needs -b"),
        ("--distill kd -b 1", "--distill kd needs -a"),
        ("--distill atention -b 1", "did you mean 'attention'"),
        ("--distill kd -a 1 --model_s resnet9", "not 9; take resnet8 or resnet14"),
        ("--distill kd -a 1 --kd_T inf", "temperature of kd takes a number, but inf"),
        ("--loss crd:1,negatives=2.5", "negatives of crd takes a whole number, but 2.5 was given"),
        ("--loss ab:1,margin=true", "margin of ab takes a number, but True"),
        ("--loss rkd:1,angle_factor=abc", "angle_factor of rkd takes a number, but abc"),
        ("--loss dist:1,beta=100000000000000000000", "beta of dist takes a number"),
        ("--loss hint:1,stages=layer9", "no stage 'layer9'"),
        ("--distill kd -a 1 --learning_rate inf", "learning_rate of a recipe should be positive, but inf"),
        ("--distill kd -a 1 --lr_decay_epochs soon", "joined by commas"),
        ("--distill hint -b 1 --hint_layer 4", "no stage 'layer4'"),
        ("--distill kd -a 1 --model_t wrn_16_2", "looks like resnet14"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(path_t, words, message):
    done = call(f"train-student --path_t {path_t} {words} {SMALL}")
    assert done.status == 2 and message in done.err, done.err
    assert len(done.err.splitlines()) == 1


def test_a_missing_teacher_is_said_in_one_line():
    done = call(f"train-student --path_t save/nowhere.pth --distill kd -a 1 {SMALL}")
    assert done.status == 2 and "save/nowhere.pth" in done.err and len(done.err.splitlines()) == 1


def test_processes_share_one_memory(path_t):
    words = f"train-student --path_t {path_t} --model_s resnet8 --distill crd -b 0.8 --output-dir run {TINY}"
    command = [sys.executable, "-m", "ignite_kd", *words.split(), "--nproc-per-node", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (checkpoint,) = Path("run/checkpoints").glob("step-*.pt")
    bank = torch.load(checkpoint, weights_only=True)["head.crd"]["student_bank.rows"]
    moved = bank.norm(dim=1).sub(1).abs() < 1e-5  # a row that was written has length one
    assert moved.all()
