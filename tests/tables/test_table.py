import json
import re
from pathlib import Path

import pytest

from ignite_kd import tables
from ignite_kd.errors import UserError
from ignite_kd.tables.table import Cell

SEED = next((Path(__file__).parents[3] / "shared" / "seeds").glob("001_*.txt"), None)
WORDS = {"wrn-40-2": "wrn_40_2", "wrn-16-2": "wrn_16_2", "wrn-40-1": "wrn_40_1",
         "ShuffleNetV1": "ShuffleV1", "ShuffleNetV2": "ShuffleV2"}  # fmt: skip


def rows_of_the_read_me():
    """(row, [(teacher, student), …], [number or None, …]) of both tables, read off ITRD's read-me."""
    pairs = []
    for line in SEED.read_text().splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]
        if cells[0] == "Teacher <br> Student" and not re.search(r"\d\.\d\d", line):
            pairs = [tuple(WORDS.get(word.strip(), word.strip()) for word in cell.split("<br>")) for cell in cells[1:]]
        elif cells[0] == "Teacher <br> Student":
            yield "teacher", pairs, [float(cell.split("<br>")[0]) for cell in cells[1:]]
            yield "student", pairs, [float(cell.split("<br>")[1]) for cell in cells[1:]]
        elif pairs and len(cells) == len(pairs) + 1 and re.search(r"\d\.\d\d", line):
            yield cells[0].lower(), pairs, [float(c) if re.match(r"\d", c) else None for c in cells[1:]]


@pytest.mark.skipif(SEED is None, reason="the read-me of ITRD lies in shared/seeds")
def test_the_benchmarks_numbers_are_those_of_the_read_me():
    same, different = tables.get("itrd-same"), tables.get("itrd-different")
    rows = list(rows_of_the_read_me())
    assert len(rows) == 18 + 17  # teacher, student and 16 methods; FSP has no second half
    for row, pairs, numbers in rows:
        table = same if len(pairs) == 7 else different
        assert list(table.columns) == [f"{teacher}:{student}" for teacher, student in pairs]
        assert [table.number(Cell(row, column)) for column in table.columns] == numbers, row


def test_vids_table_has_the_cells_that_are_certain():
    table = tables.get("vid-cifar10")
    numbers = {row: [table.number(Cell(row, m)) for m in ("5000", "1000", "500", "100")] for row in table.rows}
    assert numbers == {
        "teacher": [94.26] * 4,
        "student": [90.72, 84.67, 79.63, 58.84],
        "kd": [91.27, 86.11, 82.23, 64.24],
        "fitnet": [90.64, 84.78, 80.73, 68.90],
        "at": [91.60, 87.26, 84.94, 73.40],
        "vid": [91.85, 89.73, 88.09, 81.59],
    }


@pytest.mark.parametrize("name", tables.names())
def test_each_table_says_where_its_numbers_come_from(name):
    table = tables.get(name)
    assert table.source and {"measured", "epoch", "trials", "validation"} <= set(table.protocol)
    assert set(table.published) <= set(table.rows)
    assert all(set(row) <= set(table.columns) for row in table.published.values())


def words(cells):
    return [str(cell) for cell in cells]


def test_cells_are_chosen_by_row_by_column_where_they_meet_and_one_by_one():
    table = tables.get("vid-cifar10")
    assert len(table.choose()) == 6 * 4
    assert words(table.choose(rows=["KD"])) == ["kd:5000", "kd:1000", "kd:500", "kd:100"]
    assert words(table.choose(rows=["vid", "kd"], columns=["100"])) == ["kd:100", "vid:100"]
    assert words(table.choose(cells=["vid:500"])) == ["vid:500"]
    assert words(table.choose(columns=["100"], rows=["at"], cells=["VID:500"])) == ["vid:500", "at:100"]


def test_what_was_published_as_not_applicable_is_trained_only_when_named():
    table = tables.get("itrd-same")
    assert "fsp:wrn_40_2:wrn_40_1" not in words(table.choose(rows=["fsp"]))
    assert words(table.choose(cells=["fsp:wrn_40_2:wrn_40_1"])) == ["fsp:wrn_40_2:wrn_40_1"]


@pytest.mark.parametrize(
    "choice", [{"rows": ["kdd"]}, {"columns": ["50"]}, {"cells": ["vid"]}, {"cells": ["vid:5"]}, {"cells": ["v:500"]}]
)
def test_a_cell_that_is_not_there_is_one_line_with_those_that_are(choice):
    with pytest.raises(UserError, match=r"possible|did you mean|should read") as caught:
        tables.get("vid-cifar10").choose(**choice)
    assert "\n" not in str(caught.value)


def test_a_table_of_ones_own_is_a_file(tmp_path):
    content = json.loads((Path(tables.__file__).parent / "published" / "shapes.json").read_text())
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content | {"name": "mine"}))
    assert tables.get(str(path)).name == "mine"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"columns": {}}', '{"columns": {"a": {"teacher": "x"}}}', '{"columns": {"a": 3}}']
)
def test_what_is_no_table_is_one_line(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"mine\.json") as caught:
        tables.get(str(path))
    assert "\n" not in str(caught.value)


SHAPES = json.loads((Path(tables.__file__).parent / "published" / "shapes.json").read_text())
COLUMN = SHAPES["columns"]["30"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"columns": {"30": COLUMN | {"samples_per_class": "30"}}}, "samples_per_class"),
        ({"losses": {"kd": 5}}, "losses"),
        ({"published": {"student": {"30": "90"}}}, "published"),
        ({"protocol": ["last"]}, "protocol"),
        ({"name": "../mine"}, "'../mine' should be a name"),
        ({"columns": {"a/b": COLUMN}}, "'a/b' should be a name"),
        ({"columns": {"a:b": COLUMN, "a-b": COLUMN}}, "would have the same files"),
        ({"losses": {"teacher": []}}, "there by itself"),
        ({"changes": {"kdd": "decay=0.1"}}, "'kdd' in changes is none of its rows"),
        ({"published": {"vids": {"30": 90.0}}}, "'vids' in published is none of its rows"),
        ({"published": {"vid": {"3": 90.0}}}, "'3' in published is none of its columns"),
        ({"more": 1}, "'more'"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path, change, told):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(SHAPES | change))
    with pytest.raises(UserError, match=told):
        tables.get(str(path))


def test_rows_and_columns_are_found_however_they_are_written(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(SHAPES | {"losses": {"KD": ["kd:1"]}, "columns": {"Small": COLUMN}}))
    assert words(tables.get(str(path)).choose(rows=["kd"], columns=["small"], cells=["TEACHER:Small"])) == [
        "teacher:Small",
        "KD:Small",
    ]


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(UserError, match="itrd-same"):
        tables.get("itrd-sme")
    with pytest.raises(UserError, match="cannot read"):
        tables.get("nowhere.json")
    with pytest.raises(UserError, match=r"unknown table '\.\./shapes'"):
        tables.get("../shapes")
