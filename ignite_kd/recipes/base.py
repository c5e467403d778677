"""A recipe: published hyper-parameters as a value, each number with its source, each quirk with its switch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, get_type_hints

from ignite_kd.errors import UserError, unknown

__all__ = ["PUBLISHED_HISTORY", "QUIRKS", "Quirk", "Recipe"]

# The checkpoints that Cheng et al., CVPR 2020, arXiv:2003.03622, look at: 15 of 150 epochs, 7 more of 400.
PUBLISHED_HISTORY = (
    *(0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 70, 90, 110, 130, 150),
    *(170, 190, 240, 280, 320, 360, 400),
)


@dataclass(frozen=True)
class Quirk:
    """A place where a released code contradicts its paper: the value of either, and what it changes."""

    paper: Any
    released: Any
    meaning: str
    code: str = "vid"  # the recipes that follow this code are called so, perhaps with a suffix


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
        " statistics and their running ones drift while it teaches (ReviewKD and OFD, too, were released so)",
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
    "first_stage_only": Quirk(
        False,
        True,
        "AB and FSP: `-b` is asked for, but multiplies a constant 0; the term acts in the first stage alone, unscaled,"
        " and labels alone teach afterwards (the papers, too, have two stages)",
        code="crd",
    ),
    "consecutive_rows": Quirk(
        False,
        True,
        "CC: products of the differences of consecutive rows of the batch instead of the paper's matrix of kernel"
        " correlations (a snippet of the authors, said to do about as well)",
        code="crd",
    ),
    "doubled_norm_updates": Quirk(
        False,
        True,
        "asking a wide residual network for features before their rectification runs three batch norms twice, so that"
        " their running statistics move twice a step (AB; all of ITRD; all of mdistiller)",
        code="crd",
    ),
    "test_every_epoch": Quirk(
        False,
        True,
        "the test set is evaluated after every epoch, and the best of these is printed; the tables report the last one",
        code="crd",
    ),
    "warm_up_from": Quirk(
        1,
        0,
        "ReviewKD counts epochs from 0 in its warm-up, so that nothing is distilled in the first epoch; mdistiller"
        " counts from 1",
        code="crd",
    ),
    "attention_halved": Quirk(
        False,
        True,
        "AT and NST: half of the published factor, as the paper's β/2 over its own sums (1000/2, 50/2)",
        code="zoo",
    ),
    "moving_frozen_norms": Quirk(
        False,
        True,
        "`distillation`: batch norms of the part that the classifier's training freezes stay in training mode, so that"
        " their running statistics go on moving",
        code="concepts",
    ),
    "doubled_forward": Quirk(
        False,
        True,
        "`distillation`: each step of the imitation runs the student twice, once for the accuracy that is printed, so"
        " that the running statistics of its batch norms move twice",
        code="concepts",
    ),
    "normalisation": Quirk(
        "dataset",
        "zoo",
        "images are normalised with mean (0.4814, 0.4822, 0.4465) and deviation (0.2023, 0.1994, 0.2010), for CIFAR-10"
        " and CIFAR-100 alike",
        code="zoo",
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
    light_learning_rate: float = 0.0  # of MobileNetV2, ShuffleV1 and ShuffleV2; 0: the same as of others
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4  # on every parameter, batch norms, biases and variances included
    schedule: str = "steps"  # or "one-cycle": from nothing to the learning rate, and back to nothing at the end;
    # "log-space": down evenly in its logarithm; "plateau": down where the loss on validation has stopped falling
    milestones: tuple[int, ...] = (60, 120, 160)  # of steps: epochs after which the learning rate falls
    decay: float = 0.2  # of steps and plateau
    decades: float = 1.0  # of log-space: powers of ten from the first epoch's rate to the last one's
    patience: int = 10  # of plateau: epochs without a lower loss before the rate falls
    rise: float = 0.2  # of one-cycle: the part of the training in which the learning rate grows
    head_rate: float = 1.0  # what heads train (branches, variances, projectors) learns so many times as fast
    gradient_norm: float = 0.0  # longer gradients are shortened to this; 0: none is
    first_stage_epochs: int = 30  # of methods that train something before the student proper learns
    padding: str = "reflect"  # how the image is extended by 4 pixels before the random crop
    views: str = "usual"  # how images are cut: see `data.folder.VIEWS`
    validation_images: int = 10_000
    validate_every: int = 1  # epochs, since few images are learned faster than validated; 0: never
    teacher_batch_statistics: bool = False
    softplus_twice: bool = False
    fresh_split: bool = False
    foreign_teacher: str = "refuse"
    test_at_end: bool = True
    student_file: str = "plain"
    first_stage_only: bool = True
    consecutive_rows: bool = False
    doubled_norm_updates: bool = False
    test_every_epoch: bool = False
    warm_up_from: int = 1
    attention_halved: bool = False
    normalisation: str = "dataset"
    keep_epochs: tuple[int, ...] = ()  # after which the weights are kept for `explain`; 0 is before the first step
    losses: tuple[str, ...] = ()  # what `train_with_transfer.py` adds to the labels' loss where no term is typed
    moving_frozen_norms: bool = False
    doubled_forward: bool = False

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "evaluation_batch_size", "learning_rate", "decay", "head_rate"):
            if not 0 < getattr(self, field) < float("inf"):
                raise UserError(f"{field} of a recipe should be positive, but {getattr(self, field)} was given.")
        for field in (
            "momentum",
            "weight_decay",
            "validation_images",
            "light_learning_rate",
            "first_stage_epochs",
            "gradient_norm",
            "decades",
            "patience",
            "validate_every",
        ):
            if not 0 <= getattr(self, field) < float("inf"):
                raise UserError(f"{field} of a recipe should not be negative, but {getattr(self, field)} was given.")
        for field in ("keep_epochs", "milestones"):
            if min(getattr(self, field), default=0) < 0:
                raise UserError(f"{field} of a recipe count from 0, but {min(getattr(self, field))} was given.")
        if self.schedule == "plateau" and self.decay >= 1:
            raise UserError(f"decay of a plateau should be below 1, but {self.decay} was given.")
        if not 0 < self.rise < 1:
            raise UserError(f"rise of a recipe should lie between 0 and 1, but {self.rise} was given.")
        if self.nesterov and not self.momentum:
            raise UserError("nesterov of a recipe needs a momentum above 0.")
        if self.warm_up_from not in (0, 1):
            raise UserError(f"warm_up_from of a recipe should be 0 or 1, but {self.warm_up_from} was given.")
        words = {
            "padding": ("reflect", "zeros"),
            "student_file": ("plain", "released"),
            "schedule": ("steps", "one-cycle", "log-space", "plateau"),
            "views": ("usual", "squash", "squash-crop", "strong"),
        }
        words |= {"foreign_teacher": ("refuse", "warn"), "normalisation": ("dataset", "zoo")}
        for field, possible in words.items():
            if getattr(self, field) not in possible:
                raise unknown(f"{field} of a recipe", getattr(self, field), possible)

    def quirks(self) -> dict[str, Any]:
        """The quirks of a released code that are on: those of the recipe's own, and of others what was switched."""
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        code = self.name.partition("-")[0]
        return {
            name: quirk.released
            for name, quirk in QUIRKS.items()
            if getattr(self, name) == quirk.released and (quirk.code == code or quirk.released != usual[name])
        }

    def rate_of(self, student: str) -> float:
        """The learning rate that a student of this name starts with."""
        light = student in ("MobileNetV2", "ShuffleV1", "ShuffleV2")
        return self.light_learning_rate if light and self.light_learning_rate else self.learning_rate

    def with_settings(self, settings: dict[str, str]) -> Recipe:
        """This recipe with fields replaced by words from a command line."""
        types = {k: t for k, t in get_type_hints(Recipe).items() if k not in ("name", "source", "losses")}
        if "losses" in settings:
            raise UserError("losses of a recipe are no word of it; name each term: --loss vid:10 --loss kd:1.")
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
