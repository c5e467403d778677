import json

import pytest
from commands import call

from ignite_kd import models
from ignite_kd.weights import save_weights


def test_without_a_table_it_names_them():
    done = call("reproduce")
    assert done.status == 0
    lines = done.out.splitlines()
    assert all(line.split()[0] == "source:" for line in lines[1::2]) and "CVPR 2019" in done.out
    assert [line.split()[0] for line in lines[::2]] == [
        "itrd-different",
        "itrd-same",
        "shapes",
        "vid-cifar10",
        "vid-small-data",
        "vid-small-data-search",
    ]


def test_the_help_has_these_options():
    done = call("reproduce --help")
    wanted = (
        "--row --column --cell --trials --trial --measured --epochs-scale --students-per-teacher --teacher "
        "--data-dir --trials-from --output-dir --time-limit --device --precision --compile --nproc-per-node"
    )
    assert done.status == 0 and all(word in done.out for word in wanted.split())
    assert "--max-restarts" not in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("itrd-sme", "itrd-same"),
        ("vid-cifar10 --row kdd", "'kd'"),
        ("vid-cifar10 --column 50", "5000"),
        ("vid-cifar10 --cell vid", "500"),
        ("vid-cifar10 --trials 0", "--trials"),
        ("vid-cifar10 --trial -1", "--trial"),
        ("vid-cifar10 --epochs-scale 0", "--epochs-scale"),
        ("vid-cifar10 --time-limit soon", "duration"),
        ("vid-cifar10 --teacher nowhere.th", "cannot read nowhere.th"),
        ("vid-cifar10 --trials-from nowhere.jsonl", "nowhere.jsonl is no file"),
        ("itrd-same --row fsp --column wrn_40_2:wrn_40_1", "not applicable"),
        ("mine.json", "cannot read mine.json"),
    ],
)
def test_what_makes_no_sense_is_one_line(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(f"reproduce {words}")
    assert done.status == 2
    assert told in done.err and done.err.count("\n") == 1, done.err


def test_a_cell_is_filled_and_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("reproduce shapes --cell student:30 --trials 1 --epochs-scale 0.04 --compile off")
    assert done.status == 0, done.err
    assert "| student |" in done.out and "not compared" in done.out
    assert (tmp_path / "runs" / "tables" / "shapes-x0.04" / "table.md").exists()


def test_one_trial_of_several_is_trained_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "reproduce shapes --cell student:30 --epochs-scale 0.04 --compile off"
    assert call(f"{words} --trial 1 --trial 1").status == 0
    (trial,) = (tmp_path / "runs" / "tables" / "shapes-x0.04" / "trials").iterdir()
    told = json.loads(trial.read_text())
    assert told["trial"] == told["record"]["identity"]["seed"] == 1


def test_a_student_is_shown_with_its_teacher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {"model": "wrn_10_1", "num_classes": 10, "dataset": "shapes", "results": {"test": {"last": 0.123}}}
    save_weights("t.th", models.build("wrn_10_1", 10).state_dict(), told)
    done = call("reproduce shapes --cell kd:30 --trials 1 --epochs-scale 0.04 --compile off --teacher t.th")
    assert done.status == 0, done.err
    assert "| teacher |  | 12.30 |" in done.out and "| kd |" in done.out and "| student |" not in done.out
