import json

import pytest
import torch

from ignite_kd.data.split import SplitSpec, split
from ignite_kd.errors import UserError
from ignite_kd.foreign import refuse_foreign_weights
from ignite_kd.loaders import Loaders

LABELS = torch.arange(60) % 3


def loaders(parts, digest="d1"):
    return Loaders([], [], [], ("a", "b", "c"), 32, digest, parts, LABELS, LABELS)


def parts(seed=0, validation=12, **settings):
    return split(LABELS, SplitSpec(validation, seed=seed, **settings))


def card(found, digest="d1"):
    """As it is read from beside a file of weights."""
    return json.loads(json.dumps({"model": "wrn_16_2", "data": loaders(found, digest).describe()}))


def shared(student, teacher):
    return len(set(student.validation.tolist()) & set(teacher.train.tolist()))


@pytest.mark.parametrize("policy", ["refuse", "warn"])
def test_a_teacher_of_the_same_split_is_welcome(policy):
    assert refuse_foreign_weights(loaders(parts()), card(parts()), "t.th", policy) is None


def test_a_teacher_of_fewer_images_of_the_same_split_is_welcome():
    few = parts(samples_per_class=4)
    assert len(few.train) == 12
    assert refuse_foreign_weights(loaders(parts()), card(few), "t.th", "refuse") is None
    assert refuse_foreign_weights(loaders(few), card(parts()), "t.th", "refuse") is None


@pytest.mark.parametrize(
    "teacher",
    [parts(seed=1), parts(validation=0), parts(validation=6), parts(stratified=False)],
    ids=["another seed", "all images", "fewer to validate", "released code's"],
)
def test_a_teacher_that_saw_validation_images_is_refused_with_their_number(teacher):
    student = parts()
    seen = shared(student, teacher)
    assert 0 < seen <= 12
    told = f"t.th was trained on {seen} of the 12 images that validate the student"
    with pytest.raises(UserError, match=f"{told}; train it with this split, or add foreign_teacher=warn to"):
        refuse_foreign_weights(loaders(student), card(teacher), "t.th", "refuse")
    warning = refuse_foreign_weights(loaders(student), card(teacher), "t.th", "warn")
    assert warning == f"warning: {told}; validation flatters."


def test_a_single_image_is_one_too_many():
    student = parts(validation=13)
    assert shared(student, parts(validation=12)) == 1
    with pytest.raises(UserError, match="trained on 1 of the 13 images"):
        refuse_foreign_weights(loaders(student), card(parts(validation=12)), "t.th", "refuse")


def test_what_the_teacher_was_validated_on_does_not_matter():
    """A teacher that kept more for validation never saw what validates the student."""
    cautious = parts(validation=30)
    assert set(parts().validation.tolist()) < set(cautious.validation.tolist())
    assert refuse_foreign_weights(loaders(parts()), card(cautious), "t.th", "refuse") is None


def test_a_teacher_of_other_data_is_refused_whatever_its_split():
    told = r"t\.th was trained on other data \(d2, here d1\)"
    with pytest.raises(UserError, match=f"{told}; train it"):
        refuse_foreign_weights(loaders(parts()), card(parts(), "d2"), "t.th", "refuse")
    warning = refuse_foreign_weights(loaders(parts()), card(parts(), "d2"), "t.th", "warn")
    assert warning == "warning: t.th was trained on other data (d2, here d1); validation flatters."


@pytest.mark.parametrize("policy", ["refuse", "warn"])
@pytest.mark.parametrize("nothing", [None, {}, {"data": {}}, {"data": {"digest": "d1"}}])
def test_a_teacher_of_whom_nothing_is_known_gets_a_warning(nothing, policy):
    warning = refuse_foreign_weights(loaders(parts()), nothing, "t.th", policy)
    assert warning.startswith("warning: no card beside t.th says which images it was trained on")
    assert "\n" not in warning


@pytest.mark.parametrize("data", [loaders(None), loaders(parts(validation=0))], ids=["a folder", "no validation"])
def test_where_nothing_validates_there_is_nothing_to_spoil(data):
    assert refuse_foreign_weights(data, card(parts(seed=1), "d2"), "t.th", "refuse") is None
    assert refuse_foreign_weights(data, None, "t.th", "refuse") is None


def test_a_card_whose_split_is_another_one_on_this_data_is_not_believed():
    told = card(parts())
    told["data"]["split"]["digest"] = "0" * 16
    with pytest.raises(UserError, match=r"the card's split 0{16} is \w+ on this data"):
        refuse_foreign_weights(loaders(parts()), told, "t.th", "refuse")


def after(found, earlier):
    return card(found) | {"started_from": {"file": "s.th", "card": earlier}}


def test_what_a_teacher_started_from_counts_as_it_does():
    student = parts()
    assert refuse_foreign_weights(loaders(student), after(student, card(student)), "t.th", "refuse") is None
    everything = after(student, after(student, card(parts(validation=0))))
    told = "what t.th started from was trained on 12 of the 12 images"
    with pytest.raises(UserError, match=told):
        refuse_foreign_weights(loaders(student), everything, "t.th", "refuse")
    assert told in refuse_foreign_weights(loaders(student), everything, "t.th", "warn")
    with pytest.raises(UserError, match=told):  # what is known counts, whatever else is not
        refuse_foreign_weights(
            loaders(student), {"started_from": {"card": card(parts(validation=0))}}, "t.th", "refuse"
        )


@pytest.mark.parametrize("policy", ["refuse", "warn"])
def test_where_nothing_is_known_of_what_it_started_from_there_is_a_warning(policy):
    warning = refuse_foreign_weights(loaders(parts()), after(parts(), None), "t.th", policy)
    assert (
        warning == "warning: no card says which images what t.th started from was trained on; validation may flatter."
    )
