import dataclasses
import json

import pytest

from ignite_kd import recipes
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan, Term


def test_a_term_reads_name_factor_and_options():
    term = Term.read("vid:0.1,variant=benchmark,initial_variance=2,softplus_twice=true,stages=layer2:layer3+pooled")
    assert (term.method, term.factor) == ("vid", 0.1)
    assert term.options == {
        "variant": "benchmark",
        "initial_variance": 2,
        "softplus_twice": True,
        "stages": "layer2:layer3+pooled",
    }
    assert Term.read("kd") == Term("kd", 1.0, {})


def test_papers_write_capitals():
    assert Term.read("KD:1") == Term("kd", 1.0) and Term.read("FN:2") == Term("fitnet", 2.0)


def test_a_folder_has_no_colon_which_windows_does_not_take():
    title = Plan(student="torchvision:resnet18", recipe=recipes.get("vid")).title()
    assert ":" not in title and "torchvision-resnet18" in title


@pytest.mark.parametrize("word", ["kd:much", "kd:-1", "kd:nan", "kd:inf", "kd:1,temperature"])
def test_a_term_that_makes_no_sense_is_refused_in_one_line(word):
    with pytest.raises(UserError) as caught:
        Term.read(word)
    assert "\n" not in str(caught.value)


PLAN = Plan(student="wrn_16_1", recipe=recipes.get("vid"), terms=(Term("ce"), Term("kd", 0.5)))


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"student": "wrn_10_1"}, {"recipe": recipes.get("vid,decay=0.9")}, {"terms": (Term("ce"),)},
     {"dataset": "shapes"}, {"samples_per_class": 5}, {"precision": "bf16"}, {"keep_epochs": (0, 5)}],
)  # fmt: skip
def test_what_changes_the_result_changes_the_identity_and_the_folder(change):
    other = dataclasses.replace(PLAN, **change)
    assert other.identity() != PLAN.identity()
    assert other.title() != PLAN.title()


@pytest.mark.parametrize(
    "change",
    [{"max_epochs": 7}, {"output_dir": "x"}, {"device": "cpu"}, {"num_workers": 0}, {"time_limit": 3.0},
     {"data_dir": "y"}, {"command": "z"}, {"tracker": "tensorboard"}, {"resume": "auto"}, {"state_dict_path": "w"},
     {"processes": 2}],
)  # fmt: skip
def test_what_does_not_change_the_result_changes_neither(change):
    other = dataclasses.replace(PLAN, **change)
    assert other.identity() == PLAN.identity()
    assert other.title() == PLAN.title()


def test_how_to_go_on_is_said_in_the_commands_words():
    assert PLAN.how_to_go_on == "go on with --resume auto"
    assert dataclasses.replace(PLAN, resume="auto").how_to_go_on == "the same command goes on"


def test_the_identity_survives_json():
    assert json.loads(json.dumps(PLAN.identity())) == PLAN.identity()


def test_one_cycle_depends_on_its_length():
    plan = dataclasses.replace(PLAN, recipe=recipes.get("vid-short"))
    assert dataclasses.replace(plan, max_epochs=7).identity() != plan.identity()


def test_the_epochs_to_keep_are_the_recipes_unless_others_are_given():
    concepts = recipes.get("concepts")
    assert Plan(student="wrn_16_1", recipe=concepts).keep_epochs[:4] == (0, 2, 5, 10)
    assert Plan(student="wrn_16_1", recipe=concepts, keep_epochs=()).keep_epochs == ()
    assert PLAN.keep_epochs == ()


def test_a_plan_that_keeps_no_epochs_is_what_it_was_before_that_was_possible():
    """Runs that were begun before are gone on with, under the folders' names that they have."""
    identity = PLAN.identity()
    assert "keep_epochs" not in identity and not identity["recipe"].keys() & {"keep_epochs", "losses"}
