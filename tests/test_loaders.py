import dataclasses

import pytest
import torch

from ignite_kd import loaders, recipes
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan

PLAN = Plan(student="mlp_8", recipe=recipes.get("vid"), dataset="shapes")


def prepared(words="vid", **changes):
    return loaders.prepare(dataclasses.replace(PLAN, recipe=recipes.get(words), **changes), torch.device("cpu"), None)


@pytest.mark.parametrize(("words", "kept"), [("vid", 2000), ("vid,validation_images=3000", 3000)])
def test_of_fewer_images_than_cifars_a_fifth_validates_unless_another_number_was_asked_for(words, kept):
    assert len(prepared(words).split.validation) == kept  # shapes has 10 000


@pytest.mark.parametrize(
    ("words", "changes", "told"),
    [
        ("vid,views=strong", {}, "views=strong is for a folder of images, not for shapes; take usual or squash"),
        ("vid", {"image_size": 64}, "--image-size 64 is for a folder of images; those of shapes have 32 pixels"),
    ],
)
def test_what_would_have_no_effect_is_refused(words, changes, told):
    with pytest.raises(UserError, match=told):
        prepared(words, **changes)
    prepared("vid,views=squash", image_size=32)
