"""One training, said in plain values: what a command line asks for and what a run's record keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from ignite_kd.errors import UserError
from ignite_kd.recipes.base import Recipe

__all__ = ["Plan", "Term"]


@dataclass(frozen=True)
class Term:
    """One head of the sum: `vid:0.1,variant=benchmark` on a command line."""

    method: str
    factor: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)

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
        return cls(method.strip(), factor, options)

    def __post_init__(self) -> None:
        if not 0 <= self.factor < float("inf"):
            raise UserError(f"the factor of {self.method} should be zero or more, but {self.factor} was given.")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides what a training does. Plain values, so it travels to processes and into JSON."""

    student: str
    recipe: Recipe
    dataset: str = "cifar10"
    teacher: str | None = None
    teacher_path: str | None = None
    terms: Sequence[Term] = ()
    max_epochs: int = 200
    samples_per_class: int | None = None
    image_size: int | None = None
    seed: int = 0
    precision: str = "fp32"
    compile: bool = False
    processes: int = 1
    # what follows changes where and how fast, but not what comes out
    state_dict_path: str | None = None
    data_dir: str = "./data/"
    output_dir: str | None = None
    resume: str = "never"
    device: str = "auto"
    num_workers: int = 4
    time_limit: float | None = None
    tracker: str | None = None
    command: str = ""

    _FREE: ClassVar = (
        "state_dict_path", "data_dir", "output_dir", "resume", "device", "num_workers", "time_limit", "tracker",
        "command", "teacher_path", "max_epochs",
    )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """The part that a resumed run must share. More epochs go on from where a run is, so they are not in it."""
        return {name: value for name, value in json.loads(json.dumps(asdict(self))).items() if name not in self._FREE}

    def title(self) -> str:
        """A readable folder name, with a digest that keeps different plans apart."""
        methods = "+".join(term.method for term in self.terms if term.factor and term.method != "ce") or "alone"
        few = f"-{self.samples_per_class}" if self.samples_per_class else ""
        content = json.dumps([self.identity(), self.teacher_path], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return f"{self.dataset}{few}-{self.student}-{methods}-seed{self.seed}-{digest}"


def _value(word: str) -> Any:
    for read in (int, float):
        try:
            return read(word)
        except ValueError:
            pass
    return {"true": True, "false": False, "none": None}.get(word.lower(), word)
