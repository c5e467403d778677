"""Loss heads, one method a file. A new one: copy `kd.py`, write `forward`, add its line here and its test."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from ignite_kd.errors import UserError, unknown
from ignite_kd.heads.ab import AB
from ignite_kd.heads.at import AT
from ignite_kd.heads.base import Head
from ignite_kd.heads.cc import CC
from ignite_kd.heads.crd import CRD
from ignite_kd.heads.cross_entropy import CrossEntropy
from ignite_kd.heads.dist import DIST
from ignite_kd.heads.dkd import DKD
from ignite_kd.heads.fitnet import FitNet
from ignite_kd.heads.fsp import FSP
from ignite_kd.heads.ft import FT
from ignite_kd.heads.imitation import Imitation
from ignite_kd.heads.itrd import ITRD
from ignite_kd.heads.kd import KD
from ignite_kd.heads.kdsvd import KDSVD
from ignite_kd.heads.logit_standardization import LogitStandardization
from ignite_kd.heads.nst import NST
from ignite_kd.heads.ofd import OFD
from ignite_kd.heads.pkt import PKT
from ignite_kd.heads.reviewkd import ReviewKD
from ignite_kd.heads.rkd import RKD
from ignite_kd.heads.sp import SP
from ignite_kd.heads.vid import VID
from ignite_kd.heads.wcord import WCoRD
from ignite_kd.terms import ALIASES

__all__ = [
    "AB",
    "AT",
    "CC",
    "CRD",
    "DIST",
    "DKD",
    "FSP",
    "FT",
    "ITRD",
    "KD",
    "KDSVD",
    "NST",
    "OFD",
    "PKT",
    "RKD",
    "SP",
    "VID",
    "CrossEntropy",
    "FitNet",
    "Head",
    "Imitation",
    "LogitStandardization",
    "ReviewKD",
    "WCoRD",
    "build",
    "kind",
    "names",
    "options",
]

_HEADS: dict[str, type[Head]] = {
    head.name: head
    for head in (
        CrossEntropy,
        KD,
        FitNet,
        VID,
        AB,
        FT,
        FSP,
        OFD,
        AT,
        SP,
        CC,
        RKD,
        PKT,
        NST,
        KDSVD,
        CRD,
        WCoRD,
        ReviewKD,
        ITRD,
        DKD,
        DIST,
        LogitStandardization,
        Imitation,
    )
}


def names() -> list[str]:
    """The methods that `build` knows."""
    return list(_HEADS)


def kind(name: str) -> type[Head]:
    """The class of a method, which says its `paper` and whether it `couples_batch`."""
    name = ALIASES.get(name, name)
    if name not in _HEADS:
        raise unknown("method", name, [*names(), *ALIASES])
    return _HEADS[name]


def options(name: str) -> dict[str, Any]:
    """What can be set for a method, with the defaults (those of its constructor)."""
    parameters = inspect.signature(kind(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def build(name: str, *, student: nn.Module, teacher: nn.Module | None = None, **settings: Any) -> Head:
    """A method's head for two models, e.g. `build("vid", student=model, teacher=model, variant="benchmark")`."""
    possible = options(name)
    for setting, value in settings.items():
        if setting not in possible:
            raise unknown(f"option of {name}", setting, possible)
        settings[setting] = _fitting(name, setting, value, possible[setting])
    if teacher is None and kind(name).needs_teacher:
        raise UserError(f"the method '{name}' needs a teacher.")
    return kind(name).for_models(student, teacher, **settings)


def _fitting(method: str, option: str, value: Any, default: Any) -> Any:
    """The value as its option takes it: of the kind of the default, and a number that one can compute with."""
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}.get(type(default))
    kinds = (int, float) if isinstance(default, float) else type(default)
    fits = isinstance(value, kinds) and isinstance(value, bool) == isinstance(default, bool)
    if wanted and (not fits or (isinstance(value, (int, float)) and not abs(value) < 2**31)):
        raise UserError(f"{option} of {method} takes {wanted}, but {value} was given (its default: {default}).")
    return float(value) if isinstance(default, float) else value
