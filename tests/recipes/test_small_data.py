import dataclasses

import pytest

from ignite_kd import recipes, tables
from ignite_kd.recipes import get
from ignite_kd.tables import measured

SEARCHED = ("200-slow-clip-batch32", "200-clip-batch32")


@pytest.fixture(scope="module")
def search():
    return tables.get("vid-small-data-search")


@pytest.fixture(scope="module")
def found(search):
    """By method, its trials of the whole length, the one that validated best first."""
    trials = [trial for trial in measured.trials(search) if trial.column in SEARCHED]
    trials.sort(key=lambda trial: trial.validation_accuracy, reverse=True)
    methods = ("student", "kd", "fitnet", "at", "vid")
    return {method: [trial for trial in trials if trial.row.startswith(method)] for method in methods}


def test_it_trains_as_the_best_vid_of_the_search_did(search, found):
    """But for how often it looks at validation, and the test set, which the search leaves alone."""
    best = found["vid"][0]
    column, recipe = get(search.columns[best.column].recipe), get("vid-small-data")
    assert (
        dataclasses.replace(
            column, name=recipe.name, source=recipe.source, validate_every=50, test_at_end=True, losses=("vid:30",)
        )
        == recipe
    )
    assert search.losses[best.row] == list(recipe.losses)


@pytest.mark.parametrize("method", ["student", "kd", "fitnet", "at", "vid"])
def test_each_method_of_its_table_learns_as_validated_best(search, found, method):
    assert len(found[method]) == (2 if method == "student" else 4)  # the same budget for each
    best, table = found[method][0], tables.get("vid-small-data")
    assert list(table.losses[method]) == list(search.losses[best.row])
    rate = get(search.columns[best.column].recipe).learning_rate
    assert table.changes.get(method, "") == ("" if rate == get(table.recipe).learning_rate else f"learning_rate={rate}")


def test_all_rows_of_its_table_make_the_same_steps():
    table = tables.get("vid-small-data")
    assert table.recipe == "vid-small-data" and all(column.recipe is None for column in table.columns.values())
    made = {recipes.get("vid-small-data" + ("," + words if words else "")) for words in table.changes.values()}
    assert {(recipe.epochs, recipe.batch_size) for recipe in made} == {(200, 32)}
