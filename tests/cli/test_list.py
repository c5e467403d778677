import pytest
from commands import call

from ignite_kd import data, heads, models, recipes


@pytest.mark.parametrize(
    ("kind", "names"),
    [("methods", heads.names()), ("models", models.names()), ("datasets", data.names()), ("recipes", recipes.names())],
)
def test_everything_that_is_there_is_named_a_line_each(kind, names):
    done = call(f"list {kind}")
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()] == list(names)
