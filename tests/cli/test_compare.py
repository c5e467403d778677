import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call

from ignite_kd import data, models
from ignite_kd.cli.compare import command
from ignite_kd.errors import UserError
from ignite_kd.handlers import plots
from ignite_kd.weights import save_weights

SHARED = "--dataset shapes --samples-per-class 20 --device cpu --compile off --max-epochs 2"
RECIPE = "--recipe vid,batch_size=50,validation_images=300,learning_rate=0.05"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A teacher, a network alone and two students, trained by the commands."""
    folder = tmp_path_factory.mktemp("trained")
    teacher = "--teacher mlp_24 --teacher-state-dict-path teacher.th"
    for words in (
        "train-without-transfer --model mlp_24 --state-dict-path teacher.th --output-dir runs/teacher",
        "train-without-transfer --model resnet8 --state-dict-path alone.th --output-dir runs/alone",
        f"train-with-transfer --student mlp_8 {teacher} --loss kd:2 --state-dict-path kd.th --output-dir runs/kd",
        f"train-with-transfer --student mlp_8 {teacher} --loss sp:1 --state-dict-path sp.th --output-dir runs/sp",
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            done = call(f"{words} {SHARED} {RECIPE}")
            assert done.status == 0, done.err
    return folder


@pytest.fixture(autouse=True)
def workplace(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")


def compared(words):
    done = call(f"compare {words} --device cpu --json")
    assert done.status == 0, done.err
    return json.loads(done.out)


def refused(words, *expected):
    done = call(f"compare --device cpu {words}")
    assert (done.status, done.err.count("\n"), done.out) == (2, 1, ""), done.err
    assert done.err.startswith("error: ")
    for word in expected:
        assert word in done.err


@pytest.fixture(scope="module")
def shapes():
    return data.load("shapes")


def says(name, file, shapes, pooled=False):
    """Logits, or pooled features, on the test set in its own order, without the command's machinery."""
    model = models.build(name, 10)
    model.load_state_dict(torch.load(file, weights_only=True))
    x = (shapes.test.images / 255 - torch.tensor(shapes.mean).view(3, 1, 1)) / torch.tensor(shapes.std).view(3, 1, 1)
    with torch.no_grad():
        seen = model.eval().represent(x)
    return (seen.pooled if pooled else seen.logits).double().numpy()


def test_students_are_measured_as_their_files_say(shapes):
    found = compared("runs/kd sp.th")
    labels, teacher = shapes.test.labels.numpy(), says("mlp_24", "teacher.th", shapes)
    assert (found["images"], found["reference"]) == (2000, "kd")
    for row, file in zip(found["rows"], ("kd.th", "sp.th"), strict=True):
        z = says("mlp_8", file, shapes)
        right = z.argmax(1) == labels
        assert row["accuracy"] == pytest.approx(right.mean(), abs=1e-3)
        by_class = [right[labels == c].mean() for c in range(10)]
        assert row["by_class"] == pytest.approx(by_class, abs=1e-2)
        near, wrong = row["agreement"], teacher.argmax(1) != labels
        same = z.argmax(1) == teacher.argmax(1)
        assert (near["same"], near["same_where_wrong"]) == pytest.approx((same.mean(), same[wrong].mean()), abs=1e-3)
        p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (teacher, z))
        assert near["divergence"] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-4)
        centred = [(x - x.mean(1, keepdims=True)).ravel() for x in (z, teacher)]
        assert near["correlation"] == pytest.approx(np.corrcoef(*centred)[0, 1], rel=1e-4)
        assert row["calibration"]["nll"] == pytest.approx(-np.log(q[np.arange(2000), labels]).mean(), rel=1e-4)
        assert row["accuracy"] == pytest.approx(row["recorded"]["test_last"], abs=5e-4)
        assert row["teacher"] == "teacher.th"
    assert found["differences_by_class"]["sp.th"] == pytest.approx(
        np.subtract(found["rows"][1]["by_class"], found["rows"][0]["by_class"])
    )
    assert not found["notes"]


def test_stages_are_aligned_as_on_all_images_at_once(shapes):
    """Minibatches of 256 against Kornblith's whole-batch form, which 2000 images and few channels hardly bias."""
    alignment = compared("runs/kd")["rows"][0]["alignment"]
    x, y = (says(*network, shapes, pooled=True) for network in (("mlp_8", "kd.th"), ("mlp_24", "teacher.th")))
    x, y = x - x.mean(0), y - y.mean(0)
    whole = np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert (alignment["other"], alignment["stages"][-1], alignment["other_stages"][-1]) == (
        "teacher.th", "pooled", "pooled",
    )  # fmt: skip
    assert alignment["matrix"][-1][-1] == pytest.approx(whole, abs=0.02)


def test_a_folder_and_its_file_are_one_run_and_the_record_is_told():
    found = compared("runs/sp sp.th runs/teacher")
    folder, file, teacher = found["rows"]
    for name in ("accuracy", "by_class", "agreement", "alignment", "recorded", "curves", "parameters"):
        assert folder[name] == file[name], name
    recorded = folder["recorded"]
    assert (recorded["loss"], recorded["epochs"], recorded["planned"]) == ("1 ce + 1 sp", 2, 2)
    results = json.loads(Path("runs/sp/run.json").read_text())["results"]
    assert recorded["validation_best"] == results["validation"]["best"]
    assert recorded["test_best"] == results["test"]["best"]["accuracy"]
    assert [line["epoch"] for line in folder["curves"]] == [1, 2]
    # the teacher's run has the weights of the teacher's file, and agrees with itself
    assert teacher["agreement"]["same"] == 1 and teacher["teacher"] == "teacher"
    assert [row[i] for i, row in enumerate(teacher["alignment"]["matrix"])] == pytest.approx([1] * 4)


def test_a_network_without_a_teacher_is_held_against_the_one_that_is_known_or_the_reference():
    alone, kd = compared("runs/alone runs/kd --images 100")["rows"]
    assert alone["teacher"] == kd["teacher"] == "teacher.th"
    assert alone["alignment"]["stages"] != alone["alignment"]["other_stages"]
    teacher, alone = compared("runs/teacher runs/alone --images 100")["rows"]
    assert teacher["teacher"] is None and teacher["alignment"] is None and teacher["agreement"] is None
    assert alone["alignment"]["other"] == "teacher" and alone["agreement"] is None
    assert compared("runs/alone --teacher runs/kd --images 100")["rows"][0]["teacher"] == "kd"


def test_a_teacher_that_is_gone_costs_its_columns_alone():
    Path("teacher.th").unlink()
    found = compared("runs/kd runs/alone --images 100")
    assert all(row["agreement"] is None for row in found["rows"])
    (note,) = found["notes"]
    assert "teacher.th is not there" in note and "--teacher" in note


def test_validation_images_and_a_few_of_them():
    found = compared("runs/kd runs/alone --on validation")
    assert found["images"] == found["of"] == 300
    for row in found["rows"]:
        assert row["accuracy"] == pytest.approx(row["recorded"]["validation_last"], abs=4e-3)
    some = compared("runs/kd --images 50")
    assert (some["images"], some["of"]) == (50, 2000)
    assert some["rows"][0] == compared("runs/kd --images 50")["rows"][0]


def test_another_reference_joins_in():
    found = compared("runs/kd --reference runs/sp")
    assert (found["reference"], [row["name"] for row in found["rows"]]) == ("sp", ["sp", "kd"])
    found = compared("runs/kd runs/sp --reference runs/sp")
    assert (found["reference"], [row["name"] for row in found["rows"]]) == ("sp", ["kd", "sp"])


def test_people_get_tables_and_a_folder_of_pictures(monkeypatch):
    done = call("compare runs/alone runs/kd --device cpu --images 300 --output-dir out")
    assert done.status == 0 and not done.err
    headings = [line for line in done.out.splitlines() if line.startswith("#")]
    assert headings[0] == "# 2 runs on shapes" and len(headings) == 5
    assert done.out.splitlines()[-1].startswith("written  out: compare.md, compare.json")
    text, told = Path("out/compare.md").read_text(), json.loads(Path("out/compare.json").read_text())
    assert told["images"] == 300
    if plots.available():
        for name in ("curves.png", "classes.png", "reliability.png", "cka.png"):
            assert f"({name})" in text and Path("out", name).stat().st_size > 1000
    monkeypatch.setattr(plots, "available", lambda: False)
    done = call("compare runs/kd --device cpu --images 50 --output-dir bare")
    assert "pip install matplotlib" in done.err and done.err.count("\n") == 1
    assert sorted(path.name for path in Path("bare").iterdir()) == ["compare.json", "compare.md"]


def test_a_matplotlib_that_is_broken_costs_the_pictures_alone(monkeypatch):
    def broken(*_):
        raise UserError("matplotlib cannot be imported")

    monkeypatch.setattr(plots, "available", lambda: True)
    monkeypatch.setattr("ignite_kd.comparison.pictures.draw", broken)
    done = call("compare runs/kd --device cpu --images 50 --output-dir broken")
    assert done.status == 0 and "warning: no picture: matplotlib cannot be imported" in done.err
    assert sorted(path.name for path in Path("broken").iterdir()) == ["compare.json", "compare.md"]


def test_weights_that_are_not_what_the_card_boasts_are_told_of():
    card = json.loads(Path("kd.th.json").read_text())
    card["results"]["test"]["last"]["accuracy"] = 0.99
    save_weights("kd.th", torch.load("kd.th", weights_only=True), card)
    (note,) = compared("kd.th --teacher teacher.th")["notes"]
    assert "kd.th says test accuracy 99.00%, but" in note


def test_every_mistake_is_one_line():
    refused("runs/nothing", "cannot read runs/nothing")
    refused("runs", "runs is no run's folder", "runs/kd")
    refused("runs/kd runs/kd/", "named twice")
    refused("runs/kd --teacher nothing.th", "cannot read nothing.th")
    refused("runs/kd --images 2", "--images")
    refused("runs/kd --on train", "--on")
    refused("runs/kd --device quantum", "unknown device 'quantum'")
    refused("", "RUN")
    refused("runs/kd --output-dir /proc/nowhere", "/proc/nowhere")
    record = json.loads(Path("runs/alone/run.json").read_text())
    record["plan"]["dataset"] = "cifar10"
    Path("runs/alone/run.json").write_text(json.dumps(record))
    refused("runs/kd runs/alone", "runs must share the data set, but runs/kd has shapes and runs/alone has cifar10")
    torch.save(models.build("mlp_8", 100).state_dict(), "hundred.th")
    refused("runs/kd hundred.th", "hundred.th", "100 classes")


def test_its_flags():
    found = {parameter.opts[0]: parameter.to_info_dict()["default"] for parameter in command.params}
    assert found == {
        "runs": None, "--reference": None, "--teacher": None, "--on": "test", "--images": None, "--data-dir": None,
        "--num-workers": 4, "--device": "auto", "--json": False, "--output-dir": None,
    }  # fmt: skip


def test_help_does_not_import_torch():
    code = "import sys; sys.argv = ['x', 'compare', '--help']; from ignite_kd.cli import commands\n"
    code += "try: commands()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
