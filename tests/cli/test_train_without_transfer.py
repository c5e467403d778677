import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import call
from PIL import Image

from ignite_kd import data, load_weights, models
from ignite_kd.cards import spent_on
from ignite_kd.data.split import SplitSpec, split
from ignite_kd.devices import name_of
from ignite_kd.weights import read_card

ROOT = Path(__file__).resolve().parents[2]
SMALL = "--dataset shapes --model mlp_8 --samples-per-class 20 --recipe vid,batch_size=50 --device cpu"
COMMAND = f"train-without-transfer {SMALL} --state-dict-path net.th --output-dir run"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def weights(path="net.th"):
    return torch.load(path, weights_only=True)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def metrics(folder="run"):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def test_a_training_leaves_weights_with_a_card_a_record_and_a_line_an_epoch():
    done = call(f"{COMMAND} --max-epochs 3")
    assert done.status == 0, done.err
    epochs = re.findall(r"^epoch (\d)/3 .*train loss.*validation accuracy.*lr 0\.1.* left$", done.out, re.MULTILINE)
    assert epochs == ["1", "2", "3"]
    record = json.loads(Path("run/run.json").read_text())
    assert record["status"] == "finished"
    assert record["quirks"] == {}
    assert record["data"]["split"]["samples_per_class"] == 20
    assert [line["epoch"] for line in metrics()] == [1, 2, 3]
    model = models.build("mlp_8", 10)
    load_weights(model, "net.th")
    card = read_card("net.th")
    assert card["model"] == "mlp_8"
    assert card["dataset"] == "shapes"
    assert card["results"]["test"]["last"]["accuracy"] > 0


def test_a_training_may_start_from_trained_weights():
    assert call(f"{COMMAND} --max-epochs 2").status == 0
    still = f"{SMALL} --recipe vid,batch_size=50,learning_rate=1e-30,weight_decay=0 --initial-state-dict-path net.th"
    done = call(f"train-without-transfer {still} --state-dict-path next.th --max-epochs 3")
    assert done.status == 0, done.err
    learned = {name: weights("next.th")[name] for name in dict(models.build("mlp_8", 10).named_parameters())}
    assert all(torch.equal(learned[name], weights()[name]) for name in learned)  # at such a rate they stay
    first, card = read_card("net.th"), read_card("next.th")
    assert first["started_from"] is None
    assert card["started_from"] == {"file": "net.th", "sha256": first["sha256"], "card": first}
    assert spent_on(card) == (5, card["minutes"] + first["minutes"])


def test_weights_to_start_from_must_not_have_seen_the_validation_images():
    assert call(f"{COMMAND} --recipe vid,batch_size=50,fresh_split=true --max-epochs 1").status == 0
    onwards = (
        f"train-without-transfer {SMALL} --max-epochs 1 --state-dict-path next.th --initial-state-dict-path net.th"
    )
    done = call(onwards)
    assert done.status == 2 and "images that validate the student; train it with this split" in done.err
    warned = call(onwards.replace("--recipe vid", "--recipe vid,foreign_teacher=warn"))
    assert warned.status == 0 and "warning: net.th was trained on" in warned.out


def test_the_weights_to_start_from_are_not_written_over():
    assert call(f"{COMMAND} --max-epochs 1").status == 0
    done = call(f"train-without-transfer {SMALL} --state-dict-path net.th --initial-state-dict-path net.th")
    assert done.status == 2
    assert "the student would be written over the weights it starts from, net.th; name another file." in done.err


def test_a_card_holds_what_is_needed_to_believe_and_to_repeat_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ignite-kd", *COMMAND.split()])
    assert call(f"{COMMAND} --max-epochs 2 --seed 3").status == 0
    record, card, shapes = json.loads(Path("run/run.json").read_text()), read_card("net.th"), data.load("shapes")
    validation = split(shapes.train.labels, SplitSpec(2000, samples_per_class=20))
    assert card["data"] == {
        "digest": shapes.digest(), "classes": 10, "split": validation.to_json(),
    }  # fmt: skip
    assert card["image_size"] == 32
    assert (card["recipe"], card["seed"], card["epochs"], card["loss"]) == ("vid", 3, 2, ["1 ce"])
    assert card["command"] == f"ignite-kd {COMMAND}"
    assert card["device"] == name_of(torch.device("cpu")) != ""
    assert card["minutes"] == pytest.approx(record["seconds"] / 60, abs=0.006)
    assert card["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert card["sha256"] == hashlib.sha256(Path("net.th").read_bytes()).hexdigest()
    told = call("evaluate net.th --device cpu").out.splitlines()[-1]
    assert told == "check    matches its card (sha256, model, classes, data, split, test accuracy)"
    told = call("evaluate net.th --device cpu --split validation").out.splitlines()[-1]
    assert told == "check    matches its card (sha256, model, classes, data, split, validation accuracy)"


def test_the_test_set_is_read_at_the_end_only_and_last_and_best_are_told_apart():
    done = call(f"{COMMAND} --max-epochs 3")
    assert not any("test" in name for line in metrics() for name in line)
    results = json.loads(Path("run/run.json").read_text())["results"]
    validated = [line["validation/accuracy"] for line in metrics()]
    assert results["validation"] == {"last": validated[-1], "best": max(validated)}
    assert results["best_epoch"] == validated.index(max(validated)) + 1
    last, best = (results["test"][which]["accuracy"] for which in ("last", "best"))
    expected = f"test accuracy: last {last:.2%} (epoch 3), best {best:.2%} (epoch {results['best_epoch']}"
    assert expected in done.out
    assert (best == last) == (results["best_epoch"] == 3)


def test_a_finished_run_says_so_and_more_epochs_go_on_to_what_one_run_gives(tmp_path):
    call(f"{COMMAND} --max-epochs 2")
    two = weights()
    again = call(f"{COMMAND} --max-epochs 2 --resume auto")
    assert again.status == 0
    assert "is finished" in again.out
    assert same(weights(), two)
    assert call(f"{COMMAND} --max-epochs 4 --resume").status == 0
    assert same(weights("net.th.previous"), two)
    resumed, seen = weights(), metrics()
    assert call(f"train-without-transfer {SMALL} --max-epochs 4 --state-dict-path one.th --output-dir one").status == 0
    assert same(weights("one.th"), resumed)
    assert not same(resumed, two)
    assert [{**line, "seconds": 0} for line in metrics("one")] == [{**line, "seconds": 0} for line in seen]


def test_a_time_limit_stops_in_good_order_and_the_run_can_go_on():
    options = f"{COMMAND} --max-epochs 2"
    stopped = call(f"{options} --time-limit 0.001")
    assert stopped.status == 75
    assert "stopped by time limit" in stopped.out
    assert not Path("net.th").exists()
    assert json.loads(Path("run/run.json").read_text())["status"] == "stopped"
    assert call(f"{options} --resume auto").status == 0
    resumed = weights()
    assert call(f"train-without-transfer {SMALL} --max-epochs 2 --state-dict-path one.th --output-dir one").status == 0
    assert same(weights("one.th"), resumed)


def test_sigterm_saves_and_exits_with_a_status_of_its_own():
    arguments = f"{SMALL} --state-dict-path net.th --output-dir run --max-epochs 100000".split()
    process = subprocess.Popen(
        [sys.executable, ROOT / "train_without_transfer.py", *arguments], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            break
    time.sleep(0.05)
    process.terminate()
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped by SIGTERM" in rest
    done = metrics()[-1]["epoch"]
    resumed = call(f"{COMMAND} --max-epochs {done + 1} --resume auto")
    assert resumed.status == 0, resumed.err
    assert f"resuming run after {done} epochs" in resumed.out


def test_folders_of_their_own_are_chosen_where_none_is_named():
    options = f"train-without-transfer {SMALL} --state-dict-path net.th --max-epochs 1"
    for _ in range(2):
        assert call(options).status == 0
    first, second = sorted(Path("runs").iterdir())
    assert second.name == f"{first.name}-2"
    assert metrics(first)[0]["train/loss"] == metrics(second)[0]["train/loss"]


def test_the_released_recipe_names_its_quirks_and_leaves_the_test_set_alone():
    options = "train-without-transfer --dataset shapes --model mlp_8 --samples-per-class 20 --max-epochs 1 --device cpu"
    done = call(f"{options} --output-dir run --state-dict-path net.th --recipe vid-released-code,batch_size=50")
    record = json.loads(Path("run/run.json").read_text())
    assert done.status == 0, done.err
    assert record["quirks"]["decay"] == 0.9
    assert "decay" in done.out
    assert "test" not in record["results"]
    assert record["data"]["split"]["stratified"] is False


def test_a_fresh_split_is_drawn_for_each_run_and_kept_by_a_resumed_one():
    options = "train-without-transfer --dataset shapes --model mlp_8 --samples-per-class 20 --device cpu"
    options += " --state-dict-path net.th --recipe vid,fresh_split=true,batch_size=50"
    assert call(f"{options} --max-epochs 1 --output-dir a").status == 0
    assert call(f"{options} --max-epochs 1 --output-dir b").status == 0
    drawn = [json.loads(Path(f"{run}/run.json").read_text())["data"]["split"] for run in "ab"]
    assert drawn[0]["digest"] != drawn[1]["digest"]
    assert call(f"{options} --max-epochs 2 --output-dir a --resume auto").status == 0
    assert json.loads(Path("a/run.json").read_text())["data"]["split"] == drawn[0]


def test_every_image_can_be_learned_from():
    options = (
        "train-without-transfer --dataset shapes --model mlp_8 --device cpu --max-epochs 1 --state-dict-path net.th"
    )
    refused = call(f"{options} --samples-per-class 1000")
    assert refused.status == 2
    assert "validation_images=0 in --recipe leaves 1000" in refused.err
    done = call(f"{options} --samples-per-class 1000 --recipe vid,validation_images=0 --output-dir run")
    assert done.status == 0, done.err
    assert "10000 images to learn from" in done.out
    assert "test accuracy: last" in done.out


def test_a_folder_without_a_test_tree_reports_validation_only(tmp_path):
    for part, count in (("train", 6), ("val", 2)):
        for colour in range(2):
            for i in range(count):
                path = tmp_path / "mine" / part / f"class{colour}" / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (20, 20), (200 * colour + i, 0, 0)).save(path)
    options = "train-without-transfer --dataset folder --data-dir mine --image-size 16 --model mlp_8 --num-workers 0"
    options += " --recipe vid,batch_size=4 --max-epochs 2 --device cpu --output-dir run --state-dict-path net.th"
    done = call(options)
    assert done.status == 0, done.err
    assert "result   validation accuracy: last" in done.out
    assert "test" not in json.loads(Path("run/run.json").read_text())["results"]
    shutil.copytree(tmp_path / "mine" / "val", tmp_path / "mine" / "test")
    done = call(options.replace("run", "again"))
    assert "test accuracy: last" in done.out
