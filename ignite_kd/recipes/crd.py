"""The CIFAR-100 benchmark of RepDistiller, which ITRD and most methods after it report on."""

from __future__ import annotations

from typing import Any, NamedTuple

from ignite_kd.errors import UserError, unknown
from ignite_kd.recipes.base import Recipe
from ignite_kd.terms import Term

__all__ = ["ALIASES", "CRD", "PAIRS", "factor_of", "method_of", "methods", "terms"]

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


class _Published(NamedTuple):
    """How a method was published on this benchmark: γ · CE + factor · method."""

    factor: float
    cross_entropy: float = 1.0
    options: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    warm_up: int = 0
    by_pair: dict[tuple[str, str], float] = {}  # noqa: RUF012


_METHODS = {
    "kd": _Published(0.9, 0.1, {"temperature": 4.0}),
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
        # of the released scripts; vgg and MobileNetV2 have none there, and get what most pairs have
        5,
        warm_up=20,
        by_pair={
            ("resnet56", "resnet20"): 0.6,
            ("resnet110", "resnet20"): 0.6,
            ("resnet110", "resnet32"): 1.0,
            ("resnet32x4", "ShuffleV2"): 8.0,
        },
    ),
    "itrd": _Published(1),  # λ 2 and 0.05 or 1 are inside; see `terms`
    "ofd": _Published(1),  # 1e-3 is inside
    "kdsvd": _Published(1),  # mdistiller's; RepDistiller publishes none
    "dkd": _Published(
        1,
        options={"alpha": 1.0, "beta": 8.0, "temperature": 4.0},
        warm_up=20,
    ),
    "dist": _Published(2, options={"temperature": 4.0}),
    "logit-standardization": _Published(9, 0.1),
}

# DKD's β (mdistiller's configurations); where a pair is not named: 8 across architectures, 6 within
_DKD_BETA = {
    ("resnet56", "resnet20"): 2.0,
    ("resnet110", "resnet20"): 2.0,
    ("resnet110", "resnet32"): 2.0,
    ("wrn_40_2", "wrn_16_2"): 6.0,
    ("wrn_40_2", "wrn_40_1"): 6.0,
    ("vgg13", "vgg8"): 6.0,
    ("vgg13", "MobileNetV2"): 6.0,
}

# RepDistiller's words for --distill, and seed 002's for --distype
ALIASES = {
    "hint": "fitnet", "attention": "at", "similarity": "sp", "correlation": "cc", "abound": "ab", "factor": "ft",
    "fn": "fitnet", "od": "ofd",
}  # fmt: skip


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
    return None if found is None else found.by_pair.get((teacher, student), found.factor)


def terms(method: str, teacher: str, student: str, **options: Any) -> tuple[Term, ...]:
    """The loss of a cell of the table: cross-entropy and the method, with published factors and options."""
    name = method_of(method)
    found = _METHODS[name]
    published = dict(found.options)
    if name == "dkd":
        published["beta"] = _DKD_BETA.get((teacher, student), 8.0)
    if name == "itrd" and (teacher, student) == ("wrn_40_2", "wrn_16_2"):
        # the read-me's command for this pair; which of the two settings the other pairs had is not published
        published |= {"lambda_mutual": 1.0, "alpha_it": 1.01}
    if unexpected := options.keys() & {"factor"}:
        raise UserError(f"{', '.join(unexpected)} is no option of {name}.")
    factor = factor_of(name, teacher, student)
    assert factor is not None
    return Term("ce", found.cross_entropy), Term(name, factor, published | options, found.warm_up)
