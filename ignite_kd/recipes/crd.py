"""The CIFAR-100 benchmark of RepDistiller, which ITRD and most methods after it report on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ignite_kd.errors import unknown
from ignite_kd.recipes.base import Recipe
from ignite_kd.terms import ALIASES, Term

__all__ = ["CRD", "PAIRS", "factor_of", "method_of", "methods", "terms"]

CRD = Recipe(
    name="crd",
    source="Tian, Krishnan, Isola, ICLR 2020, arXiv:1910.10699, and its code RepDistiller, whose schedule ITRD keeps: "
    "SGD, batch 64, 240 epochs, 0.05 (MobileNetV2, ShuffleNets: 0.01) × 0.1 after 150, 180 and 210; all 50 000 images",
    epochs=240,
    batch_size=64,
    evaluation_batch_size=32,
    learning_rate=0.05,
    light_learning_rate=0.01,
    milestones=(150, 180, 210),
    decay=0.1,
    padding="zeros",  # black, before normalisation
    validation_images=0,
    consecutive_rows=True,
)

# The 13 (teacher, student) columns of the two tables: same architecture, then different ones.
PAIRS = (
    ("wrn_40_2", "wrn_16_2"),
    ("wrn_40_2", "wrn_40_1"),
    ("resnet56", "resnet20"),
    ("resnet110", "resnet20"),
    ("resnet110", "resnet32"),
    ("resnet32x4", "resnet8x4"),
    ("vgg13", "vgg8"),
    ("vgg13", "MobileNetV2"),
    ("ResNet50", "MobileNetV2"),
    ("ResNet50", "vgg8"),
    ("resnet32x4", "ShuffleV1"),
    ("resnet32x4", "ShuffleV2"),
    ("wrn_40_2", "ShuffleV1"),
)


@dataclass(frozen=True)
class _Published:
    """How a method was published on this benchmark: γ · CE + factor · method."""

    factor: float
    cross_entropy: float = 1.0
    warm_up: int = 0
    factors: dict[tuple[str, str], float] = field(default_factory=dict)  # of pairs with one of their own
    options: dict[str, Any] = field(default_factory=dict)  # that differ from the head's defaults
    pair_options: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


def _betas(beta: float, *pairs: tuple[str, str]) -> dict[tuple[str, str], dict[str, Any]]:
    return {pair: {"beta": beta} for pair in pairs}


_METHODS = {
    "kd": _Published(0.9, cross_entropy=0.1),
    "fitnet": _Published(100),
    "at": _Published(1000),
    "sp": _Published(3000),
    "cc": _Published(0.02),
    "vid": _Published(1, options={"variant": "benchmark"}),
    "rkd": _Published(1),  # 25 and 50 are inside
    "pkt": _Published(30_000),
    "ab": _Published(1),
    "ft": _Published(200),
    "fsp": _Published(50),
    "nst": _Published(50),
    "crd": _Published(0.8),
    "wcord": _Published(0.8),  # no code was released; CRD's
    "reviewkd": _Published(
        # of the released scripts; pairs that they lack get what most pairs have
        5,
        warm_up=20,
        factors={
            ("resnet56", "resnet20"): 0.6,
            ("resnet110", "resnet20"): 0.6,  # not published: as for resnet56
            ("resnet110", "resnet32"): 1.0,
            ("resnet32x4", "ShuffleV2"): 8.0,
        },
    ),
    "itrd": _Published(
        1,
        # of the read-me's command for this pair, beside the script's defaults (the head's) for the others; which of
        # the two a pair of the tables had is not published
        pair_options={("wrn_40_2", "wrn_16_2"): {"lambda_mutual": 1.0, "alpha_it": 1.01}},
    ),
    "ofd": _Published(1),  # 1e-3 is inside
    "kdsvd": _Published(1),  # mdistiller's; RepDistiller publishes none
    "dkd": _Published(
        1,
        warm_up=20,
        # of mdistiller's configurations and read-me, whose default is 8; resnet110 → resnet20 is not published
        pair_options=_betas(2.0, ("resnet56", "resnet20"), ("resnet110", "resnet20"), ("resnet110", "resnet32"))
        | _betas(6.0, ("wrn_40_2", "wrn_16_2"), ("wrn_40_2", "wrn_40_1"), ("vgg13", "vgg8"), ("vgg13", "MobileNetV2")),
    ),
    "dist": _Published(2),
    "logit-standardization": _Published(9, cross_entropy=0.1),
}


def methods() -> list[str]:
    """The methods that the benchmark, or what was published on it later, has."""
    return list(_METHODS)


def method_of(word: str) -> str:
    """A method by its name here, or by RepDistiller's (`hint`, `attention`, …)."""
    name = ALIASES.get(word.lower(), word.lower())
    if name not in _METHODS:
        raise unknown("method", word, [*_METHODS, *ALIASES])
    return name


def factor_of(method: str, teacher: str = "", student: str = "") -> float | None:
    """The published factor of a method; None for one that the benchmark does not have."""
    found = _METHODS.get(method)
    return None if found is None else found.factors.get((teacher, student), found.factor)


def terms(method: str, teacher: str, student: str) -> tuple[Term, Term]:
    """The loss of a cell of the table: cross-entropy and the method, with published factors and options."""
    name, pair = method_of(method), (teacher, student)
    found = _METHODS[name]
    options = found.options | found.pair_options.get(pair, {})
    return Term("ce", found.cross_entropy), Term(name, found.factors.get(pair, found.factor), options, found.warm_up)
