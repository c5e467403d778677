"""Against the read-me of seed 002 and what its code does (files distill.py, train.py; noted in the docstrings)."""

import pytest

from ignite_kd.errors import UserError
from ignite_kd.recipes import get, zoo
from ignite_kd.terms import Term


def test_it_is_the_schedule_of_the_zoo():
    recipe = get("zoo")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.decay) == (200, 64, 0.1, 0.1)
    assert (recipe.momentum, recipe.weight_decay, recipe.milestones) == (0.9, 5e-4, (100, 150))


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 10, 200, 241])
def test_the_rate_falls_when_the_released_formula_says_so(epochs):
    marks = zoo.milestones(epochs)
    for epoch in range(epochs):  # counted from 0
        released = 0.1 ** (epoch // (epochs * 0.5)) * 0.1 ** (epoch // (epochs * 0.75))
        assert 0.1 ** sum(epoch >= mark for mark in marks) == pytest.approx(released)


@pytest.mark.parametrize(
    ("word", "ce", "method", "factor"),
    [("KD", 0.1, "kd", 0.9), ("FN", 1, "fitnet", 100), ("NST", 1, "nst", 50), ("AT", 1, "at", 1000),
     ("RKD", 1, "rkd", 1), ("SP", 1, "sp", 3000), ("OD", 1, "ofd", 1)],
)  # fmt: skip
def test_the_factors_are_fixed_to_those_of_its_code(word, ce, method, factor):
    first, term = zoo.terms(word)
    assert (first, term.method, term.factor) == (Term("ce", ce), method, factor)


def test_the_released_code_halves_attention_and_nst():
    released = get("zoo,attention_halved=true")
    assert [zoo.terms(word, released)[1].factor for word in ("AT", "NST", "SP")] == [500, 25, 3000]
    assert released.quirks() == {"attention_halved": True}


def test_a_method_that_the_zoo_lacks_is_refused_with_its_seven():
    with pytest.raises(UserError, match="possible: KD, FN, NST, AT, RKD, SP, OD"):
        zoo.terms("CRD")
