"""The zoo of classic methods on CIFAR: KD, FN, NST, AT, RKD, SP, OD."""

from __future__ import annotations

from ignite_kd.errors import unknown
from ignite_kd.recipes.base import Recipe
from ignite_kd.recipes.crd import method_of
from ignite_kd.terms import Term

__all__ = ["METHODS", "ZOO", "milestones", "terms"]

ZOO = Recipe(
    name="zoo",
    source="the read-me and the code of 'Knowledge Distillations with Pytorch': SGD, batch 64, 200 epochs, 0.1 × 0.1 "
    "at half and at three quarters, momentum 0.9, weight decay 5e-4; all 50 000 images",
    epochs=200,
    batch_size=64,
    evaluation_batch_size=64,
    learning_rate=0.1,
    milestones=(100, 150),
    decay=0.1,
    padding="zeros",
    validation_images=0,
)

METHODS = ("KD", "FN", "NST", "AT", "RKD", "SP", "OD")
_FACTORS = {"KD": 0.9, "FN": 100.0, "NST": 50.0, "AT": 1000.0, "RKD": 1.0, "SP": 3000.0, "OD": 1.0}


def milestones(epochs: int) -> tuple[int, ...]:
    """Half and three quarters of a training, in whole epochs, as the released code rounds."""
    return tuple(dict.fromkeys(max(1, -(-epochs * part // 4)) for part in (2, 3)))


def terms(method: str, recipe: Recipe = ZOO) -> tuple[Term, ...]:
    """The loss of `--distype METHOD`, with the factors of its code, which are those of the CIFAR-100 benchmark."""
    word = method.upper()
    if word not in METHODS:
        raise unknown("method of the zoo", method, METHODS)
    factor = _FACTORS[word] / (2 if recipe.attention_halved and word in ("AT", "NST") else 1)
    return Term("ce", 0.1 if word == "KD" else 1.0), Term(method_of(word), factor)
