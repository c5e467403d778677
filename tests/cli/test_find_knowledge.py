import json
import shutil
from pathlib import Path

import pytest
from commands import call

from ignite_kd.cli.find_knowledge import command
from ignite_kd.concepts.sigma import read_sigma
from ignite_kd.concepts.store import Store

SIGMA = "--capacity-layer pooled --sigma-size 4 --effect-num 4 --pic-num 16 --device cpu --engine linear"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Maps of two seeds of a network, called baseline and student."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = "train-without-transfer --dataset shapes --samples-per-class 10 --device cpu --compile off "
        words += "--max-epochs 2 --keep-epochs 0,1,2 --recipe vid,batch_size=50,validation_images=100 --model mlp_8 "
        for seed, name in enumerate(("label", "distil")):
            done = call(f"{words} --seed {seed} --state-dict-path {name}.th --output-dir {name}")
            assert done.status == 0, done.err
            done = call(
                f"train-sigma --checkpoint-root {name} --mode {name}_net --dataset shapes --model mlp_8 {SIGMA}"
            )
            assert done.status == 0, done.err
    return folder


@pytest.fixture(autouse=True)
def workplace(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")


NAMED = "find-knowledge --dataset shapes --model-name mlp_8 --layer pooled"


def refused(words, *expected):
    done = call(words)
    assert (done.status, done.err.count("\n"), done.out) == (2, 1, "") and done.err.startswith("error: "), done.err
    for word in expected:
        assert word in done.err


def test_the_numbers_are_written_in_the_originals_order_and_as_tables():
    done = call(f"{NAMED} --threshold 0.05 --find-threshold")
    assert done.status == 0, done.err
    text = Path("knowledge_txt/shapes_mlp_8_pooled_0415_results.txt").read_text()
    assert done.out.startswith(text)
    titles = [line.split(":")[0].split(",")[0] for line in text.splitlines()]
    own = ["epochs", "total background", "threshold", "fore knowledge", "back knowledge", "total knowledge", "ratio"]
    own += ["fore max mean", "back max mean", "percent", ""]
    assert titles == ["distil_net", *own, "label_net", *own]
    told = json.loads(Path("knowledge_txt/explanation.json").read_text())
    roots = [read_sigma(f"sigma_result/shapes_mlp_8_{name}_net_pooled_0415", "") for name in ("label", "distil")]
    assert told["images"] == [name for name in roots[0].kept if name in roots[1].kept]
    label = told["networks"]["label_net"]
    total = [sum(column) / len(column) for column in zip(*label["counts"]["total"], strict=True)]
    line = text.split("label_net")[1].split("total knowledge: ")[1].splitlines()[0]
    assert [float(word) for word in line.split()] == pytest.approx(total, rel=1e-5)
    assert told["differences"]["distil_net: N"] and "nats a cell" in told["deviation from the sampled engine"]


def test_each_network_on_its_own_images():
    done = call(f"{NAMED} --find-same-sample false --find-peak false --find-convergence no --knowledge-point fore")
    assert done.status == 0, done.err
    assert "percent: fore" in done.out and "knowledge:" not in done.out and "max mean" not in done.out
    assert "back" not in done.out.replace("background", "") and not Path("knowledge_txt/explanation.json").exists()


def test_folders_and_runs_may_lie_anywhere():
    shutil.move("sigma_result/shapes_mlp_8_label_net_pooled_0415", "one")
    shutil.move("sigma_result/shapes_mlp_8_distil_net_pooled_0415", "two")
    shutil.move("label", "elsewhere")
    noted = Store.there("one/maps.pt")
    noted.notes["root"] = "label"
    noted.save()
    words = "find-knowledge --label_sigma_root one --distil_sigma_root two --teacher_sigma_root two --output-dir out"
    refused(words, "cannot read", "label")
    done = call(f"{words} --label-checkpoint-path elsewhere")
    assert done.status == 0, done.err
    assert list(json.loads(Path("out/explanation.json").read_text())["networks"]) == [
        "label_net", "distil_net", "teacher",
    ]  # fmt: skip


def test_every_mistake_is_one_line():
    refused("find-knowledge", "--label-sigma-root", "ILSVRC_vgg16_label_net_conv_0415 has no maps.pt", "train-sigma")
    refused(f"{NAMED} --threshold low", "--threshold", "float")
    refused(f"{NAMED} --threshold 0", "--threshold")
    refused(f"{NAMED} --threshold nan", "--threshold nan is no number of nats")
    refused(f"train-sigma --checkpoint-root label {SIGMA} --threshold-entropy nan", "threshold", "nan")
    refused(f"{NAMED} --label-checkpoint-path distil", "the weights in distil are not those of the maps")
    refused(f"{NAMED} --knowledge-point middle", "fore")
    done = call(f"train-sigma --checkpoint-root distil {SIGMA} --sigma-size 5 --output-dir other")
    assert done.status == 0, done.err
    refused(f"{NAMED} --distil-sigma-root other", "made otherwise", "constants.grid was 4 and is 5")
    expanded = f"{SIGMA} --fore-expand true --sigma-upsample-size 6 --output-dir larger"
    done = call(f"train-sigma --checkpoint-root distil {expanded}")
    assert done.status == 0, done.err
    refused(f"{NAMED} --distil-sigma-root larger", "the masks differ", "--fore-expand")


def test_its_flags():
    found = {parameter.opts[0]: parameter.to_info_dict()["default"] for parameter in command.params}
    assert found == {
        "--label-sigma-root": None, "--distil-sigma-root": None, "--teacher-sigma-root": None,
        "--label-checkpoint-path": None, "--distil-checkpoint-path": None, "--teacher-checkpoint-path": None,
        "--dataset": "ILSVRC", "--model-name": "vgg16", "--layer": "conv", "--date": "0415", "--threshold": 0.2,
        "--knowledge-point": "both", "--find-same-sample": True, "--find-total-background": True,
        "--find-threshold": False, "--find-peak": True, "--find-convergence": True, "--find-percent": True,
        "--output-dir": "knowledge_txt",
    }  # fmt: skip
