import json
from pathlib import Path

import pytest
import torch
from filled import MINE, RECIPE, fill, teacher_file

from ignite_kd.errors import UserError
from ignite_kd.files import digest_of
from ignite_kd.weights import save_weights


def test_a_teacher_that_is_given_is_measured_and_used(table, tmp_path, trained, recwarn):
    given = teacher_file(tmp_path / "mine.th")
    _, found = fill(table, tmp_path / "r", rows=["teacher", "kd"], given=[given])
    assert trained == [["kd-5-0"]]
    assert 0 < found["teacher", "5", 0].accuracy < 40  # of ten classes, untrained
    with pytest.raises(UserError, match="learn from another mlp_16"):
        fill(table, tmp_path / "r", rows=["kd"], given=[teacher_file(tmp_path / "other.th", seed=1)])
    with pytest.raises(UserError, match="is not what the students here learned from"):
        save_weights(
            given, {**torch.load(given, weights_only=True), "classifier.bias": torch.ones(10)}, {"model": "mlp_16"}
        )
        fill(table, tmp_path / "r", rows=["kd"], given=[given])


def test_a_teacher_that_nobody_needs_is_one_line(table, tmp_path):
    with pytest.raises(UserError, match="is a mlp_16, but the cells need no teacher"):
        fill(table, tmp_path / "r", rows=["student"], given=[teacher_file(tmp_path / "mine.th")])
    with pytest.raises(UserError, match="cannot read"):
        fill(table, tmp_path / "r", rows=["kd"], given=["nowhere.th"])


def test_a_teacher_of_other_data_is_one_line(table, tmp_path):
    given = teacher_file(tmp_path / "other.th", dataset="cifar10", results={"test": {"last": {"accuracy": 0.99}}})
    with pytest.raises(UserError, match="learned cifar10, but mine is of shapes"):
        fill(table, tmp_path / "r", rows=["kd"], given=[given])


def test_a_wrong_teacher_may_be_put_right_as_long_as_nobody_learned_from_it(table, tmp_path, recwarn):
    wrong, right = teacher_file(tmp_path / "wrong.th"), teacher_file(tmp_path / "right.th", seed=1)
    fill(table, tmp_path / "r", rows=["teacher"], given=[wrong])
    _, found = fill(table, tmp_path / "r", rows=["teacher", "kd"], given=[right])
    assert found["kd", "5", 0].record["identity"]["teacher_sha256"] == digest_of(right)
    assert found["teacher", "5", 0].record["file"] == "right.th"


def test_how_long_and_how_well_a_teacher_learned_is_said(table, tmp_path, capsys):
    given = teacher_file(tmp_path / "mine.th", epochs=1, results={"test": {"last": {"accuracy": 0.5}}})
    fill(table, tmp_path / "r", rows=["teacher"], given=[given])
    assert "mine.th (50.00% on the test set, 1 epochs)" in capsys.readouterr().out
    (line,) = [line for line in (tmp_path / "r" / "table.md").read_text().splitlines() if "| teacher |" in line][:1]
    assert "epochs × 0.5: not compared" in line


def test_the_trial_of_a_teacher_tells_how_it_was_trained(table, tmp_path):
    _, found = fill(table, tmp_path / "r", rows=["teacher"])
    record = json.loads((tmp_path / "r" / "teachers" / "mlp_16" / "run.json").read_text())
    trial, results = found["teacher", "5", 0], record["results"]
    assert trial.accuracy == pytest.approx(100 * results["test"]["last"]["accuracy"], abs=1e-4)
    assert trial.best_accuracy == pytest.approx(100 * results["test"]["best"]["accuracy"], abs=1e-4)
    assert trial.validation_accuracy == pytest.approx(100 * results["validation"]["last"], abs=1e-4)
    assert (trial.record["seed"], trial.record["data"]) == (0, record["data"])


def test_a_folder_whose_shipped_teacher_was_moved_takes_it_where_it_is_now(table, tmp_path, trained, monkeypatch):
    before, after = teacher_file(tmp_path / "before.th"), tmp_path / "after.th"
    shipped = [Path(before)]
    monkeypatch.setattr("ignite_kd.tables.teachers.shipped", lambda name, table: shipped[0])
    fill(table, tmp_path / "r", rows=["kd"])
    Path(before).rename(after)
    shipped[0] = after
    for rows in (["kd", "dist"], ["kd"]):
        status, _ = fill(table, tmp_path / "r", rows=rows)
        assert status == 0
    assert trained == [["kd-5-0"], ["dist-5-0"]]
    shipped[0] = Path(teacher_file(tmp_path / "other.th", seed=1))
    after.unlink()
    with pytest.raises(UserError, match=r"after\.th"):
        fill(table, tmp_path / "r", rows=["kd"])


def test_a_file_that_was_put_beside_the_trained_teachers_moves_with_the_folder(table, tmp_path, trained, recwarn):
    (tmp_path / "r" / "teachers").mkdir(parents=True)
    better = teacher_file(tmp_path / "r" / "teachers" / "better.th")
    fill(table, tmp_path / "r", rows=["kd"], given=[better])
    (tmp_path / "r").rename(tmp_path / "moved")
    assert fill(table, tmp_path / "moved", rows=["kd"])[0] == 0
    assert trained == [["kd-5-0"]]


def test_a_teacher_of_another_recipe_than_the_tables_is_not_used_on(table, tmp_path):
    fill(table, tmp_path / "r", rows=["kd"])
    table.write_text(json.dumps(MINE | {"teacher_recipe": RECIPE.format(3)}))
    with pytest.raises(UserError, match=r"recipe\.epochs was 2 and is 3"):
        fill(table, tmp_path / "r", rows=["dist"])
