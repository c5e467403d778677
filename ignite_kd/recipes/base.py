"""A recipe: published hyper-parameters as a value, each number with its source, each quirk with its switch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, get_type_hints

from ignite_kd.errors import UserError, unknown

__all__ = ["QUIRKS", "Quirk", "Recipe"]


@dataclass(frozen=True)
class Quirk:
    """A place where a released code contradicts its paper: the value of either, and what it changes."""

    paper: Any
    released: Any
    meaning: str


# One entry a switch of `Recipe`; the fidelity ledger of the read-me is this table.
QUIRKS = {
    "decay": Quirk(
        0.2,
        0.9,
        "the learning rate is multiplied by this at each milestone; the released code says 0.9, but cites the"
        " official WRN values, whose factor is 0.2",
    ),
    "teacher_batch_statistics": Quirk(
        False,
        True,
        "the released code never switches the teacher to eval mode: its batch norms use the batch's"
        " statistics and their running ones drift while it teaches",
    ),
    "softplus_twice": Quirk(
        False, True, "the initial variance 5 goes through softplus instead of its inverse and starts at 5.0134"
    ),
    "fresh_split": Quirk(
        False, True, "every run draws its own unseeded split, so a student is validated on images its teacher has seen"
    ),
    "foreign_teacher": Quirk(
        "refuse", "warn", "a teacher that was trained on the student's validation images is accepted"
    ),
    "test_at_end": Quirk(True, False, "the test set is loaded but never evaluated; what is printed is validation"),
    "student_file": Quirk(
        "plain", "released", "branches and variances are saved as part of the student; its file loads only with them"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a published system trains.

    Derive one with `dataclasses.replace`, or on the command line with `--recipe vid,decay=0.1`.
    """

    name: str
    source: str
    epochs: int = 200
    batch_size: int = 128
    evaluation_batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4  # on every parameter, batch norms, biases and variances included
    milestones: tuple[int, ...] = (60, 120, 160)  # epochs after which the learning rate falls
    decay: float = 0.2
    padding: str = "reflect"  # how the image is extended by 4 pixels before the random crop
    validation_images: int = 10_000
    teacher_batch_statistics: bool = False
    softplus_twice: bool = False
    fresh_split: bool = False
    foreign_teacher: str = "refuse"
    test_at_end: bool = True
    student_file: str = "plain"

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "evaluation_batch_size", "learning_rate", "decay"):
            if not getattr(self, field) > 0:
                raise UserError(f"{field} of a recipe should be positive, but {getattr(self, field)} was given.")
        for field in ("momentum", "weight_decay", "validation_images"):
            if not getattr(self, field) >= 0:
                raise UserError(f"{field} of a recipe should not be negative, but {getattr(self, field)} was given.")
        if self.nesterov and not self.momentum:
            raise UserError("nesterov of a recipe needs a momentum above 0.")
        words = {"padding": ("reflect", "zeros"), "student_file": ("plain", "released")}
        for field, possible in (words | {"foreign_teacher": ("refuse", "warn")}).items():
            if getattr(self, field) not in possible:
                raise unknown(f"{field} of a recipe", getattr(self, field), possible)

    def quirks(self) -> dict[str, Any]:
        """The quirks of a released code that are on."""
        return {field: quirk.released for field, quirk in QUIRKS.items() if getattr(self, field) == quirk.released}

    def with_settings(self, settings: dict[str, str]) -> Recipe:
        """This recipe with fields replaced by words from a command line."""
        types = {k: t for k, t in get_type_hints(Recipe).items() if k not in ("name", "source")}
        for field in settings:
            if field not in types:
                raise unknown(f"field of recipe {self.name}", field, types)
        values = {field: _read(field, word, types[field]) for field, word in settings.items()}
        return dataclasses.replace(self, **values)


def _read(field: str, word: str, kind: Any) -> Any:
    try:
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[word.lower()]
        if kind in (int, float, str):
            return kind(word)
        return tuple(int(part) for part in word.split("+") if part)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "numbers joined by +")
        raise UserError(f"'{word}' does not fit the recipe's field {field}, which takes {wanted}.") from None
