import json

import pytest

from ignite_kd import tables
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan
from ignite_kd.recipes import Recipe
from ignite_kd.tables.elsewhere import Elsewhere
from ignite_kd.tables.table import Cell
from ignite_kd.tables.trial import Trial, read_trial

TABLE = tables.get("shapes")
CELL, OTHER = Cell("kd", "30"), Cell("kd", "100")  # as if both were of the same training


def trial(number=0, table="shapes", scale=1.0, accuracy=50.0, rate=0.1, column="30", **machine):
    recipe = Recipe(name="", source="", learning_rate=rate)
    return Trial(
        table=table, row="kd", column=column, trial=number, epochs=25, epochs_scale=scale, accuracy=accuracy,
        best_accuracy=None, validation_accuracy=None, seconds=1.0, students=1, error=None,
        record={"identity": Plan(student="mlp_8", recipe=recipe, **machine).identity()},
    )  # fmt: skip


def file(path, *trials):
    path.write_text("".join(json.dumps(one.to_json()) + "\n" for one in trials))
    return str(path)


def taken(place, tmp_path, number=0, rate=0.1):
    to = tmp_path / f"taken-{number}.json"
    done = place.take_over([CELL, OTHER], number, trial(rate=rate).record["identity"], to)
    assert done == to.exists()
    return read_trial(to) if done else None


def test_what_others_finished_is_copied_and_the_first_file_counts(tmp_path):
    one = file(tmp_path / "one.jsonl", trial(0), trial(1, accuracy=60.0))
    other = file(tmp_path / "other.jsonl", trial(1, accuracy=70.0), trial(2))
    place = Elsewhere([one, other], TABLE, 1.0)
    assert [taken(place, tmp_path, i) for i in range(4)] == [trial(0), trial(1, accuracy=60.0), trial(2), None]


def test_of_other_tables_and_scales_nothing_is_taken(tmp_path):
    mixed = file(tmp_path / "mixed.jsonl", trial(0, table="mine"), trial(1, scale=0.5), trial(2))
    place = Elsewhere([mixed], TABLE, 1.0)
    assert [taken(place, tmp_path, i) for i in range(3)] == [None, None, trial(2)]


def test_one_of_other_settings_is_refused(tmp_path):
    place = Elsewhere([file(tmp_path / "one.jsonl", trial())], TABLE, 1.0)
    told = r"trial 0 of kd:30 in .*one\.jsonl was .* recipe\.learning_rate was 0\.1 and is 0\.2; leave that"
    with pytest.raises(UserError, match=told):
        taken(place, tmp_path, rate=0.2)


def test_one_that_fits_is_taken_behind_others_that_do_not(tmp_path):
    files = [file(tmp_path / f"{rate}.jsonl", trial(rate=rate)) for rate in (0.3, 0.2)]
    assert taken(Elsewhere(files, TABLE, 1.0), tmp_path, rate=0.2) == trial(rate=0.2)


def test_number_format_and_compilation_are_the_machines(tmp_path):
    found = trial(precision="bf16", compile="off")
    assert taken(Elsewhere([file(tmp_path / "one.jsonl", found)], TABLE, 1.0), tmp_path) == found


def test_a_cell_of_the_same_training_will_do(tmp_path):
    place = Elsewhere([file(tmp_path / "one.jsonl", trial(column="100"))], TABLE, 1.0)
    assert taken(place, tmp_path) == trial(column="30")


def test_a_file_without_any_that_fit_is_one_line(tmp_path):
    fits = file(tmp_path / "fits.jsonl", trial())
    with pytest.raises(UserError, match=r"none\.jsonl is no file; name the trials"):
        Elsewhere([fits, str(tmp_path / "none.jsonl")], TABLE, 1.0)
    with pytest.raises(UserError, match="holds none of shapes with 1 × its epochs"):
        Elsewhere([fits, file(tmp_path / "half.jsonl", trial(scale=0.5))], TABLE, 1.0)
