import dataclasses
import json
from pathlib import Path

import pytest
import torch
from commands import call

from ignite_kd import load_weights, models, recipes
from ignite_kd.weights import save_weights

COMMON = "--dataset shapes --samples-per-class 20 --device cpu --max-epochs 1"
STUDENT = "--student-depth 10 --student-width 1 --teacher-depth 10 --teacher-width 2"
FEW = "validation_images=100,batch_size=50"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def teacher():
    torch.manual_seed(1)
    state = models.build("wrn_10_2", 10).state_dict()
    save_weights("state_dict/teacher.th", state, {})
    return {name: tensor.clone() for name, tensor in state.items()}


def record(folder="run"):
    return json.loads(Path(folder, "run.json").read_text())


def test_the_original_command_trains_and_leaves_plain_student_weights(teacher):
    done = call(
        f"train-with-transfer {STUDENT} --variational-information-distillation-factor 0.1 "
        "--knowledge-distillation-factor 1.0 --knowledge-distillation-temperature 2.0 "
        "--state-dict-path ./state_dict/student_with_transfer.th --teacher-state-dict-path ./state_dict/teacher.th "
        f"--data-dir --num-workers {COMMON} --recipe vid,{FEW} --output-dir run --device"  # as with unset variables
    )
    assert done.status == 0, done.err
    assert "no card beside" not in done.err
    assert load_weights(models.build("wrn_10_1", 10), "state_dict/student_with_transfer.th").layout == "state dict"
    line = json.loads(Path("run/metrics.jsonl").read_text())
    terms = [line[f"train/loss.{name}"] for name in ("ce", "kd", "vid")]
    assert line["train/loss"] == pytest.approx(sum(terms), rel=1e-5)
    assert record()["plan"]["terms"][1] == {
        "method": "kd", "factor": 1.0, "options": {"temperature": 2.0}, "warm_up": 0,
    }  # fmt: skip
    now = torch.load("state_dict/teacher.th", weights_only=True)
    assert all(torch.equal(teacher[name], now[name]) for name in teacher)


def test_the_released_recipe_writes_the_layout_that_the_released_code_reads(teacher):
    options = f"{STUDENT} {COMMON} --output-dir run --state-dict-path student.th"
    assert call(f"train-with-transfer {options} --recipe vid-released-code,{FEW}").status == 0
    names = list(torch.load("student.th", weights_only=True))
    network = list(models.build("wrn_10_1", 10).state_dict())
    branches = [f"branch{i}.{layer}.weight" for i in (1, 2, 3) for layer in (0, 1)]
    assert names == ["variance_param1", "variance_param2", "variance_param3", *network, *branches]
    found = load_weights(models.build("wrn_10_1", 10), "student.th")
    assert "released VID student" in found.layout
    assert record()["quirks"].keys() >= {"decay", "teacher_batch_statistics", "softplus_twice", "student_file"}


def test_any_sum_of_heads_can_be_named(teacher):
    options = f"--student mlp_8 --teacher wrn_10_2 {COMMON} --recipe vid,{FEW} --output-dir run --state-dict-path s.th"
    done = call(
        f"train-with-transfer {options} --loss ce:0.5 --loss vid:0.2,stages=pooled,variant=benchmark --loss kd:0"
    )
    assert done.status == 0, done.err
    line = json.loads(Path("run/metrics.jsonl").read_text())
    assert {name for name in line if name.startswith("train/loss.")} == {"train/loss.ce", "train/loss.vid"}


@pytest.mark.parametrize(
    "typed, terms",
    [
        ("", {"ce", "at"}),
        ("--loss fitnet:2", {"ce", "fitnet"}),
        ("--knowledge-distillation-factor 0", {"ce", "vid"}),
    ],
)
def test_a_recipe_may_bring_the_terms_and_what_is_typed_comes_first(teacher, monkeypatch, typed, terms):
    mine = dataclasses.replace(recipes.get("vid"), name="mine", losses=("at:5",))
    monkeypatch.setitem(recipes._RECIPES, "mine", mine)
    done = call(f"train-with-transfer {STUDENT} {COMMON} --recipe mine,{FEW} --output-dir run {typed}")
    assert done.status == 0, done.err
    line = json.loads(Path("run/metrics.jsonl").read_text())
    assert {name.removeprefix("train/loss.") for name in line if name.startswith("train/loss.")} == terms
    replaced = "warning: the options of VID and KD replace the losses of recipe mine (at:5)"
    assert (replaced in done.err) == typed.startswith("--knowledge")


def test_a_teacher_that_learned_from_the_validation_images_is_refused():
    alone = f"train-without-transfer --dataset shapes --model mlp_8 --device cpu --max-epochs 1 --recipe vid,{FEW}"
    assert call(f"{alone},fresh_split=true --samples-per-class 900 --state-dict-path foreign.th").status == 0
    options = f"train-with-transfer --student mlp_8 --teacher mlp_8 {COMMON} --teacher-state-dict-path foreign.th"
    refused = call(f"{options} --recipe vid,{FEW}")
    assert refused.status == 2
    assert "of the 100 images that validate the student" in refused.err
    warned = call(f"{options} --recipe vid,{FEW},foreign_teacher=warn")
    assert warned.status == 0
    assert "validation flatters" in warned.out


def test_a_student_depends_on_its_teachers_weights_and_says_so_when_resumed(teacher):
    options = f"train-with-transfer {STUDENT} {COMMON} --recipe vid,{FEW} --output-dir run --state-dict-path s.th"
    assert call(options).status == 0
    torch.manual_seed(2)
    save_weights("state_dict/teacher.th", models.build("wrn_10_2", 10).state_dict(), {})
    refused = call(f"{options} --resume auto --max-epochs 2")
    assert refused.status == 2
    assert "teacher_sha256" in refused.err
