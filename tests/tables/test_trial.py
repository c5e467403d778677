import json

import pytest

from ignite_kd.errors import UserError
from ignite_kd.tables.trial import Trial, read_lines, read_trial, write_trial

TRIAL = Trial(
    table="mine", row="kd", column="5", trial=0, epochs=4, epochs_scale=1.0, accuracy=20.0, best_accuracy=None,
    validation_accuracy=None, seconds=60.0, students=2, error=None, record={"device": "a machine"},
)  # fmt: skip


def test_a_trial_is_read_as_it_was_written(tmp_path):
    write_trial(tmp_path / "t.json", TRIAL)
    assert read_trial(tmp_path / "t.json") == TRIAL
    (tmp_path / "t.jsonl").write_text((json.dumps(TRIAL.to_json()) + "\n\n") * 2)
    assert read_lines(tmp_path / "t.jsonl") == [TRIAL, TRIAL]


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"[]",
        b"\xff\xfe",
        {"accuracy": "20"},
        {"record": []},
        {"seconds": None},
        {"trial": "0"},
        {"more": 1},
        {"record": {"identity": None}},
        {"record": {"identity": {"recipe": []}}},
        {"record": {"earlier": [1]}},
        {"record": {"earlier": [{"device": 5}]}},
        {"record": {"data": "x"}},
        {"record": {"data": {"digest": {}}}},
    ],
)
def test_a_damaged_trial_is_one_line(tmp_path, damage):
    content = damage if isinstance(damage, bytes) else json.dumps(TRIAL.to_json() | damage).encode()
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.json is no trial, or damaged"):
        read_trial(tmp_path / "t.json")


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps(TRIAL.to_json()) + "\n{\n")
    with pytest.raises(UserError, match=r"t\.jsonl, line 2, is no trial"):
        read_lines(tmp_path / "t.jsonl")
