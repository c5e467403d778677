from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ignite_kd.tables.checked import checked


@dataclass(frozen=True)
class Told:
    name: str
    share: float
    count: int | None = None
    words: Sequence[str] | str = ()
    numbers: Mapping[str, float | None] | None = None
    rest: dict[str, Any] | None = None


def test_values_of_the_right_types_are_taken():
    found = checked(Told, {"name": "a", "share": 1, "words": ["b"], "numbers": {"c": None}, "rest": {"d": [{}]}})
    assert found == Told("a", 1, None, ["b"], {"c": None}, {"d": [{}]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 1), ("name", None), ("share", "1"), ("share", True), ("share", float("nan")), ("count", 1.5),
        ("count", True), ("words", [1]), ("words", {}), ("numbers", {"c": "1"}), ("numbers", []), ("rest", []),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_named(field, value):
    with pytest.raises(ValueError, match=f"its {field} should be"):
        checked(Told, {"name": "a", "share": 0.5} | {field: value})


@pytest.mark.parametrize(("content", "told"), [([], "an object"), ({"name": "a"}, "'share'"), ("a", "an object")])
def test_what_is_no_such_object_is_told(content, told):
    with pytest.raises(ValueError, match=told):
        checked(Told, content)


def test_a_field_that_is_not_known_is_told():
    with pytest.raises(ValueError, match="'more'"):
        checked(Told, {"name": "a", "share": 0.5, "more": 1})
