import dataclasses

import pytest

from ignite_kd import recipes, tables
from ignite_kd.recipes import get
from ignite_kd.tables import measured

SEARCHED = "50-slow-clip-batch32"


@pytest.fixture(scope="module")
def search():
    return tables.get("vid-small-data-search")


def test_it_trains_as_the_column_of_the_search_did(search):
    """But for what the length of a training moves, and the test set, which the search leaves alone."""
    column, recipe = get(search.columns[SEARCHED].recipe), get("vid-small-data")
    changed = recipes.changes_of(dataclasses.asdict(recipe) | {"name": "vid"})
    assert changed == {
        "batch_size": column.batch_size,
        "learning_rate": column.learning_rate,
        "gradient_norm": column.gradient_norm,
        "validate_every": 20,
        "losses": ["vid:10"],
    }


@pytest.mark.parametrize("method", ["kd", "fitnet", "at", "vid"])
def test_each_method_of_its_table_has_the_factor_that_validated_best(search, method):
    found = [trial for trial in measured.trials(search) if trial.column == SEARCHED and trial.row.startswith(method)]
    assert len(found) == 3  # the same budget for each
    best = max(found, key=lambda trial: trial.validation_accuracy)
    losses = search.losses[best.row]
    assert tables.get("vid-small-data").losses[method] == losses
    if method == "vid":
        assert get("vid-small-data").losses == tuple(losses)


def test_all_rows_of_its_table_make_the_same_steps():
    table = tables.get("vid-small-data")
    assert table.recipe == "vid-small-data" and not table.changes
    assert all(column.recipe is None for column in table.columns.values())
