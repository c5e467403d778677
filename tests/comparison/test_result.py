import json
import math

import pytest
from compared import comparison, row


def test_differences_are_counted_from_the_reference():
    found = comparison(row("two", [0.5, 1.0]), row("one", [0.25, math.nan]), row("three", [0.0, 0.5]))
    differences = found.differences()
    assert list(differences) == ["two", "three"]
    assert (differences["two"][0], differences["three"][0]) == (0.25, -0.25)
    assert math.isnan(differences["two"][1])


def test_json_is_strict_and_complete():
    found = comparison(row("one", [0.5, math.nan]), row("two", [1.0, 0.5], agreement=None))
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["rows"][0]["by_class"] == [0.5, None]
    assert told["rows"][0]["agreement"]["same_where_wrong"] is None
    assert told["rows"][0]["alignment"]["matrix"] == [[0.1, 0.2], [0.9, None]]
    assert told["rows"][1]["agreement"] is None
    assert told["rows"][0]["curves"][1] == {"epoch": 2, "train/loss": 1.0}
    assert told["differences_by_class"] == {"two": [0.5, None]}


def test_stages_of_one_name_are_found_wherever_they_stand():
    alignment = row("one", []).alignment
    assert alignment.same() == {"b": pytest.approx(0.9)}
