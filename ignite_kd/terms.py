"""One term of a loss, said in plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ignite_kd.errors import UserError

__all__ = ["ALIASES", "Term", "check_terms"]

# other codes' words for methods: RepDistiller's of --distill, the zoo's of --distype
ALIASES = {
    "hint": "fitnet", "attention": "at", "similarity": "sp", "correlation": "cc", "abound": "ab", "factor": "ft",
    "fn": "fitnet", "od": "ofd",
}  # fmt: skip


@dataclass(frozen=True)
class Term:
    """One head of the sum: `vid:0.1,variant=benchmark` on a command line."""

    method: str
    factor: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    warm_up: int = 0  # epochs over which the factor grows from nothing

    @classmethod
    def read(cls, word: str) -> Term:
        """A term from NAME:FACTOR[,option=value…]; the factor is 1 where none is given."""
        head, *settings = word.split(",")
        method, colon, number = head.partition(":")
        try:
            factor = float(number) if colon else 1.0
        except ValueError:
            raise UserError(f"'{number}' in --loss {word} is no number; write NAME:FACTOR[,option=value…].") from None
        options = {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals:
                raise UserError(f"'{setting}' in --loss {word} should read option=value.")
            options[name.strip()] = _value(value.strip())
        warm_up = options.pop("warm_up", 0)
        if not isinstance(warm_up, int):
            raise UserError(f"'{warm_up}' in --loss {word} is no number of epochs; write warm_up=20.")
        method = method.strip().lower()  # papers write capitals
        return cls(ALIASES.get(method, method), factor, options, warm_up)

    def __str__(self) -> str:
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        return f"{self.factor:g} {self.method}" + (f" ({options})" if options else "")

    def __post_init__(self) -> None:
        if not 0 <= self.factor < float("inf"):
            raise UserError(f"the factor of {self.method} should be zero or more, but {self.factor} was given.")
        if self.warm_up < 0:
            raise UserError(
                f"the warm_up of {self.method} should be zero or more epochs, but {self.warm_up} was given."
            )


def check_terms(terms: Sequence[Term]) -> None:
    """Refuse a sum in which a method stands twice, or nothing."""
    names = [term.method for term in terms if term.factor]
    if len(set(names)) < len(names):
        raise UserError(
            f"a method may stand once in the loss, but {', '.join(names)} were given; add their factors up."
        )
    if not names:
        raise UserError("every factor of the loss is zero: nothing would be learned.")


def _value(word: str) -> Any:
    for read in (int, float):
        try:
            return read(word)
        except ValueError:
            pass
    return {"true": True, "false": False, "none": None}.get(word.lower(), word)
