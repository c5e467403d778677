import dataclasses
import json

import pytest

from ignite_kd import recipes
from ignite_kd.errors import UserError
from ignite_kd.recipes import QUIRKS, get


def test_the_default_recipe_has_the_papers_numbers():
    recipe = get("vid")
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.1, 0.9, 5e-4)
    assert (recipe.epochs, recipe.batch_size, recipe.milestones, recipe.decay) == (200, 128, (60, 120, 160), 0.2)
    assert recipe.quirks() == {}


def test_the_released_codes_recipe_has_every_quirk_on():
    recipe = get("vid-released-code")
    assert recipe.quirks().keys() == {field for field, quirk in QUIRKS.items() if quirk.code == "vid"}
    assert recipe.decay == 0.9 and recipe.teacher_batch_statistics and not recipe.test_at_end


@pytest.mark.parametrize("field", QUIRKS)
def test_each_quirk_can_be_switched_on_alone_from_the_command_line(field):
    code, released = QUIRKS[field].code, QUIRKS[field].released
    paper = ",".join(f"{name}={quirk.paper}" for name, quirk in QUIRKS.items() if quirk.code == code)
    assert get(f"{code},{paper}").quirks() == {}
    recipe = get(f"{code},{paper},{field}={released}")
    assert recipe.quirks() == {field: released}


@pytest.mark.parametrize("name", ["vid", "crd", "zoo"])
@pytest.mark.parametrize("field", [field for field in QUIRKS if field != "first_stage_only"])  # everybody's default
def test_a_quirk_of_another_code_is_told_too_where_it_was_switched_on(field, name):
    assert get(f"{name},{field}={QUIRKS[field].released}").quirks()[field] == QUIRKS[field].released
    assert field not in get(f"{name},{field}={QUIRKS[field].paper}").quirks()


def test_fields_of_every_kind_can_be_changed():
    recipe = get("vid,batch_size=64, learning_rate=0.05,milestones=3+5,nesterov=yes,padding=zeros")
    assert (recipe.batch_size, recipe.learning_rate, recipe.milestones) == (64, 0.05, (3, 5))
    assert recipe.nesterov is True and recipe.padding == "zeros"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("vid,keep_epochs=0+-2", r"keep_epochs of a recipe count from 0, but -2 was given"),
        ("vid,milestones=-5", r"milestones of a recipe count from 0, but -5 was given"),
        ("vid,validate_every=-1", r"validate_every of a recipe should not be negative, but -1 was given"),
        ("vid,schedule=plateau,decay=1", r"decay of a plateau should be below 1, but 1\.0 was given"),
        ("vidd", "unknown recipe 'vidd'; did you mean 'vid'"),
        ("vid,deccay=0.1", "did you mean 'decay'"),
        ("vid,decay", "should read field=value"),
        ("vid,losses=vid:10", "losses of a recipe are no word of it; name each term: --loss"),
        ("vid,decay=fast", "takes a number"),
        ("vid,batch_size=1.5", "takes a whole number"),
        ("vid,nesterov=maybe", "takes true or false"),
        ("vid,milestones=a+b", "takes numbers joined by"),
        ("vid,decay=-1", "should be positive"),
        ("vid,decay=nan", "should be positive"),
        ("vid,weight_decay=-1", "should not be negative"),
        ("vid,padding=reflct", "did you mean 'reflect'"),
        ("vid,name=mine", "unknown field"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(word, message):
    with pytest.raises(UserError, match=message) as caught:
        get(word)
    assert "\n" not in str(caught.value)


def test_what_was_changed_of_a_recipe_is_told():
    recorded = json.loads(json.dumps(dataclasses.asdict(get("vid,learning_rate=0.05,milestones=1+2"))))
    changed = recipes.changes_of(recorded)
    assert changed == {"learning_rate": 0.05, "milestones": [1, 2]}
    assert recipes.told("vid", changed) == "vid (learning_rate 0.05, milestones [1, 2])"
    assert recipes.changes_of(dataclasses.asdict(get("vid-short"))) == {} and recipes.told("vid", {}) == "vid"


def test_every_recipe_says_where_its_numbers_come_from():
    for name in recipes.names():
        assert len(recipes.get(name).source) > 20
