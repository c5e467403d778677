import dataclasses

import pytest
import torch
from torch import nn

from ignite_kd.errors import UserError
from ignite_kd.heads.first_stage import FirstStage
from ignite_kd.losses import build_head, first_stage
from ignite_kd.models import build
from ignite_kd.recipes import get
from ignite_kd.terms import Term

LABELS = torch.arange(20) % 10


def test_options_of_the_term_come_before_the_quirks_of_the_recipe():
    recipe = dataclasses.replace(get("crd"), first_stage_only=False)
    assert build_head(Term.read("ab:1"), recipe, *networks(), LABELS, 32).first_stage_only is False
    assert build_head(Term.read("ab:1,first_stage_only=True"), recipe, *networks(), LABELS, 32).first_stage_only is True


@pytest.mark.parametrize("word", ["kd:1,temperature=word", "kd:1,colour=3"])
def test_options_that_do_not_fit_are_one_line_with_the_method(word):
    with pytest.raises(UserError, match=r"^[^\n]*kd[^\n]*$"):
        build_head(Term.read(word), get("crd"), *networks(), LABELS, 32)


def networks():
    return build("wrn_10_1", 10), build("wrn_10_2", 10)


class Trains(nn.Module):
    """A head with a first stage, after which its loss counts or not."""

    def __init__(self, replaces):
        super().__init__()
        self.replaces = replaces

    def first_stage(self, student):
        return FirstStage(student, self, replaces_main=self.replaces)


@pytest.mark.parametrize("replaces", [True, False])
def test_what_is_trained_first_says_whether_its_loss_counts_afterwards(replaces):
    stage, counts = first_stage(Trains(replaces), nn.Identity(), get("crd"))
    assert stage is not None and counts is not replaces


@pytest.mark.parametrize("replaces", [True, False])
def test_without_epochs_for_a_first_stage_there_is_none_and_the_loss_counts(replaces):
    recipe = dataclasses.replace(get("crd"), first_stage_epochs=0)
    assert first_stage(Trains(replaces), nn.Identity(), recipe) == (None, True)
