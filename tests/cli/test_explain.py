import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import call
from PIL import Image

from ignite_kd import models
from ignite_kd.cli.explain import command
from ignite_kd.concepts.store import Store
from ignite_kd.weights import save_weights

SHARED = "--dataset shapes --samples-per-class 10 --device cpu --compile off --max-epochs 2 --keep-epochs 0,1,2"
RECIPE = "--recipe vid,batch_size=50,validation_images=100,learning_rate=0.05"
QUICK = "--device cpu --engine linear --probes 4 --grid 4 --images 4 --candidates 30 --part test"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two seeds of a network alone and its student, with their histories."""
    folder = tmp_path_factory.mktemp("trained")
    for words in (
        "train-without-transfer --model mlp_8 --students 2 --state-dict-path alone.th --output-dir runs/alone",
        "train-with-transfer --student mlp_8 --teacher mlp_8 --teacher-state-dict-path alone-alone-seed0.th "
        "--loss kd:2 --state-dict-path kd.th --output-dir runs/kd",
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


RUNS = "runs/alone/alone-seed0 runs/alone/alone-seed1 runs/kd alone-alone-seed1.th"


def explained(words):
    done = call(f"explain {QUICK} {words} --json")
    assert done.status == 0, done.err
    return json.loads(done.out)


def refused(words, *expected):
    done = call(f"explain {QUICK} {words}")
    assert (done.status, done.err.count("\n"), done.out) == (2, 1, ""), done.err
    assert done.err.startswith("error: ")
    for word in expected:
        assert word in done.err, done.err


def test_runs_of_any_method_and_a_file_stand_in_one_table(monkeypatch):
    done = call(f"explain {RUNS} {QUICK} --output-dir out")
    assert done.status == 0, done.err
    for part in ("# What 4 networks learned: `pooled`, 4 images of shapes (test)", "## Over seeds", "## Candidates"):
        assert part in done.out
    assert "alone-alone-seed1.th: no history" in done.out and done.out.endswith("written  out\n")
    told = json.loads(Path("out/explanation.json").read_text())
    assert list(told["networks"]) == ["alone-seed0", "alone-seed1", "kd", "alone-alone-seed1.th"]
    assert told["groups"] == {"alone": ["alone-seed0", "alone-seed1"]}
    assert told["settings"]["asked"]["entropy_weight"] == 7 and "wait" not in done.err
    assert "## Other margins" in Path("out/table.md").read_text()
    assert told["networks"]["kd"]["about"]["loss"] == "1 ce + 2 kd"


def test_json_is_the_same_again_from_what_was_kept():
    one = explained("runs/kd")
    before = {path: path.stat().st_mtime_ns for path in Path("runs/kd/concepts").glob("*.pt")}
    assert explained("runs/kd") == one
    assert before and before == {path: path.stat().st_mtime_ns for path in before}
    assert one["margin"] == 0.2 and one["margin rule"] == "published"
    assert explained("runs/kd --margin otsu")["margin rule"].startswith("otsu")
    weights = explained("runs/kd --entropy-weight published --epochs 0,2")
    assert weights["settings"]["asked"]["entropy_weight"] is None and weights["networks"]["kd"]["epochs"] == [0, 2]


def test_a_time_limit_has_a_status_of_its_own_and_the_same_command_goes_on():
    whole = explained("runs/kd")
    shutil.rmtree("runs/kd/concepts")
    done = call(f"explain runs/kd {QUICK} --time-limit 0.000001s")
    assert done.status == 75 and "stopped by time limit; what was computed is kept" in done.err and not done.out
    assert explained("runs/kd") == whole


def test_a_kill_is_survived(tmp_path):
    words = f"explain runs/kd {QUICK} --images 20 --candidates 60 --output-dir out"
    process = subprocess.Popen([sys.executable, "-m", "ignite_kd", *words.split()], stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while not list(Path("runs/kd/concepts").glob("*.pt")):
        assert time.monotonic() - started < 60
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not Path("out/explanation.json").exists()
    (kept,) = Path("runs/kd/concepts").glob("*.pt")
    store = Store.there(kept)
    done = [name for name in store.names if not store.missing(store.epochs[-1], [name])]
    before = store.get(store.epochs[-1], done).entropies
    again = call(words)
    assert again.status == 0, again.err
    after = Store.there(kept)
    assert torch.equal(after.get(after.epochs[-1], done).entropies, before) and before.numel()
    shutil.rmtree("runs/kd/concepts")
    told = Path("out/table.md").read_text()
    assert call(words).status == 0 and Path("out/table.md").read_text() == told


def test_every_mistake_is_one_line():
    refused("runs/nothing", "cannot read runs/nothing")
    refused("runs", "runs is no run's folder")
    refused("runs/kd --layer pooled2", "unknown layer of mlp_8 'pooled2'; did you mean 'pooled'", "logits")
    refused("runs/kd --margin much", "'much' is no positive number and none of null, otsu, physical")
    refused("runs/kd --margin -1", "'-1' is no positive number")
    refused("runs/kd --entropy-weight heavy", "none of published")
    refused("runs/kd --epochs 0,7", "did not keep epoch 7; it kept 0, 1, 2")
    refused("runs/kd --grid 64", "a grid of 64 cells is finer than images of 32 pixels")
    refused("runs/kd --mask-dir masks", "--mask-dir is for folders of images")
    refused("runs/kd --device quantum", "unknown device 'quantum'")
    refused("runs/kd --output-dir /proc/nowhere", "/proc/nowhere")
    refused("", "RUN")


def test_checkpoints_of_another_network_are_refused():
    record = json.loads(Path("runs/kd/run.json").read_text())
    other = models.build("mlp_12", 10).state_dict()
    torch.save(other, "runs/kd/history/epoch-0001.th")
    refused_words = call(f"explain runs/kd {QUICK}")
    assert refused_words.status == 2 and "looks like mlp_12" in refused_words.err.splitlines()[-1]
    assert record["plan"]["student"] == "mlp_8"


def test_a_layer_must_be_in_all_networks(tmp_path):
    torch.manual_seed(0)
    save_weights("wrn.th", models.build("wrn_10_1", 10).state_dict(), {"model": "wrn_10_1", "dataset": "shapes"})
    refused("runs/kd wrn.th --layer hidden2", "unknown layer of wrn_10_1 and the others 'hidden2'", "pooled, logits")


def test_a_folder_of_images_has_no_masks_but_a_box():
    for i in range(8):
        for part in ("train", "val"):
            path = Path("mine", part, f"class{i % 2}", f"{i}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((16, 16), 90).save(path)
    words = "train-without-transfer --dataset folder --data-dir mine --image-size 16 --model mlp_8 --num-workers 0"
    done = call(f"{words} {RECIPE.replace('50', '4')} --device cpu --output-dir net --state-dict-path net.th "
                "--max-epochs 1 --keep-epochs 0,1")  # fmt: skip
    assert done.status == 0, done.err
    refused("net --grid 6 --masks any", "folder has no masks; take --masks box")
    refused("net", "a grid of 4 has no ground around the central box; take 6 or more")
    found = explained("net --grid 6")
    assert found["settings"]["masks"] == "the central box is the object" and found["images"][0].startswith("val/class")
    assert any("images instead of" in note for note in found["notes"]) or len(found["images"]) == 4
    assert list(explained("net --grid 6 --masks none")["networks"]["net"]["numbers"]) == [
        "N", "D_mean", "D_std", "D_var", "D_epochs", "rho_all",
    ]  # fmt: skip


def test_its_flags():
    found = {parameter.opts[0]: parameter.to_info_dict()["default"] for parameter in command.params}
    assert found == {
        "runs": None, "--layer": "pooled", "--epochs": None, "--images": 50, "--candidates": 500, "--part": "train",
        "--data-dir": None, "--masks": "auto", "--mask-dir": None, "--mask-kind": "cub", "--engine": "sampled",
        "--probes": 64, "--check": 4, "--grid": 8, "--margin": 0.2, "--entropy-weight": 7.0, "--seed": 0,
        "--device": "auto", "--time-limit": None, "--json": False, "--output-dir": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["explain", "train-sigma", "find-knowledge"])
def test_help_does_not_import_torch(name):
    code = f"import sys; sys.argv = ['x', '{name}', '--help']; from ignite_kd.cli import commands\n"
    code += "try: commands()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
