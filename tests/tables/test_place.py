import json
from pathlib import Path

import pytest
from filled import MINE, RECIPE, fill

from ignite_kd.errors import UserError


def test_the_report_lies_in_the_folder(table, tmp_path):
    fill(table, tmp_path / "r", rows=["student"], trials=2)
    told = (tmp_path / "r" / "table.md").read_text()
    assert "| student | 20.00 |" in told and "| 2 |" in told
    assert len((tmp_path / "r" / "trials.jsonl").read_text().splitlines()) == 2


def test_trials_of_other_settings_that_lie_there_are_not_averaged_in(table, tmp_path, capsys):
    fill(table, tmp_path / "r", rows=["student"], trials=2)
    table.write_text(json.dumps(MINE | {"recipe": RECIPE.format(4) + ",learning_rate=0.2"}))
    for path in ("trials/student-5-0.json", "runs/student-5-0"):  # as the refusal advises
        (tmp_path / "r" / path).rename(tmp_path / Path(path).name)
    _, found = fill(table, tmp_path / "r", rows=["student"])
    assert [key for key in found if key[0] == "student"] == [("student", "5", 0)]
    assert "left out 1 of" in capsys.readouterr().out
    (line,) = [line for line in (tmp_path / "r" / "table.md").read_text().splitlines() if line.startswith("| student")]
    assert "±" not in line


def test_a_folder_that_was_moved_is_gone_on_with(table, tmp_path, trained):
    _, found = fill(table, tmp_path / "r", rows=["kd"])
    (tmp_path / "r").rename(tmp_path / "moved")
    del trained[:]
    status, again = fill(table, tmp_path / "moved", rows=["kd", "dist"])
    assert (status, trained) == (0, [["dist-5-0"]])
    assert again["kd", "5", 0] == found["kd", "5", 0]


def test_a_picture_that_cannot_be_drawn_stops_nothing(table, tmp_path, monkeypatch):
    def broken(*_):
        raise UserError("matplotlib cannot be imported")

    monkeypatch.setattr("ignite_kd.tables.report.picture", broken)
    said = []
    status, found = fill(table, tmp_path / "r", rows=["student"], say=said.append)
    assert status == 0 and found and "warning: no picture: matplotlib cannot be imported" in said


def test_trials_that_learned_from_other_images_are_told_of(table, tmp_path, capsys):
    fill(table, tmp_path / "r", rows=["student"], trials=3)
    assert "warning" not in capsys.readouterr().out
    path = tmp_path / "r" / "trials" / "student-5-1.json"  # as one that came from a machine whose folder has others
    trial = json.loads(path.read_text())
    trial["record"]["data"]["digest"] = "of other images"
    path.write_text(json.dumps(trial))
    fill(table, tmp_path / "r", rows=["student"], trials=3)
    told = capsys.readouterr().out
    assert (
        told.count("warning: 1 of the trials in") == 1 and "other images than most, e.g. trial 1 of student:5" in told
    )


def test_another_table_leaves_the_report_of_this_one(table, tmp_path):
    fill(table, tmp_path / "r", rows=["student"])
    before = (tmp_path / "r" / "table.md").read_bytes()
    table.write_text(json.dumps(MINE | {"name": "other", "title": "Another"}))
    with pytest.raises(UserError, match="table mine, not other"):
        fill(table, tmp_path / "r", rows=["student"])
    assert (tmp_path / "r" / "table.md").read_bytes() == before


@pytest.mark.parametrize("text", ["{", "[1]", '{"table": "mine"}', '{"table": "mine", "epochs_scale": "1"}'])
def test_damaged_notes_are_one_line(table, tmp_path, text):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "reproduction.json").write_text(text)
    with pytest.raises(UserError, match=r"reproduction\.json is damaged"):
        fill(table, tmp_path / "r", rows=["student"])


def test_a_copy_of_a_trial_does_not_count_twice(table, tmp_path, capsys):
    fill(table, tmp_path / "r", rows=["student"], trials=2)
    whole = (tmp_path / "r" / "table.md").read_text()
    trials = tmp_path / "r" / "trials"
    (trials / "student-5-0 (copy).json").write_bytes((trials / "student-5-0.json").read_bytes())
    fill(table, tmp_path / "r", rows=["student"], trials=2)
    assert (tmp_path / "r" / "table.md").read_text() == whole
    assert "left out 1 of" in capsys.readouterr().out
