"""One training, said in plain values: what a command line asks for and what a run's record keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ignite_kd.errors import UserError
from ignite_kd.recipes.base import Recipe
from ignite_kd.terms import Term

__all__ = ["Plan", "Term", "classmates"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides what a training does. Plain values, so it travels to processes and into JSON."""

    student: str
    recipe: Recipe
    dataset: str = "cifar10"
    teacher: str | None = None
    teacher_path: str | None = None
    student_path: str | None = None
    trunk_path: str | None = None  # torchvision's weights, for the student's trunk alone
    frozen: str | None = None  # the stage up to which the student does not learn
    classes: int | None = None  # how many the data should have
    terms: Sequence[Term] = ()
    max_epochs: int = 200
    samples_per_class: int | None = None
    image_size: int | None = None
    seed: int = 0
    order_seed: int | None = None  # of order and augmentation, where it is not the seed: classmates share the batches
    precision: str = "fp32"
    compile: str = "auto"
    keep_epochs: Sequence[int] | None = None  # whose weights stay; None: the recipe's
    # what follows changes where and how fast, but not what comes out; with other processes but for rounding
    processes: int = 1
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
        "command", "teacher_path", "student_path", "trunk_path", "classes", "max_epochs", "processes",
    )  # fmt: skip

    # what students that learn from the same batches of the same teacher have in common
    _SHARED: ClassVar = (
        "dataset", "data_dir", "samples_per_class", "image_size", "teacher", "teacher_path", "max_epochs", "precision",
        "compile", "processes", "device", "num_workers", "time_limit",
    )  # fmt: skip
    _SHARED_BY_RECIPES: ClassVar = (
        "batch_size", "evaluation_batch_size", "padding", "validation_images", "teacher_batch_statistics",
        "fresh_split", "foreign_teacher", "normalisation", "views",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.order_seed == self.seed:
            object.__setattr__(self, "order_seed", None)
        if self.keep_epochs is None:
            object.__setattr__(self, "keep_epochs", self.recipe.keep_epochs)

    @property
    def order(self) -> int:
        """The seed of order and augmentation."""
        return self.seed if self.order_seed is None else self.order_seed

    def shared(self) -> dict[str, Any]:
        """What students of one run must have in common, by name."""
        own = {name: getattr(self, name) for name in self._SHARED}
        return own | {name: getattr(self.recipe, name) for name in self._SHARED_BY_RECIPES} | {"order": self.order}

    @property
    def how_to_go_on(self) -> str:
        """What to do after a stop, in words."""
        return "the same command goes on" if self.resume == "auto" else "go on with --resume auto"

    def label(self) -> str:
        """A short name among classmates: `kd1+vid0.1-seed0`."""
        methods = "+".join(
            f"{term.method}{term.factor:g}" for term in self.terms if term.factor and term.method != "ce"
        )
        return f"{methods or 'alone'}-seed{self.seed}"

    def identity(self) -> dict[str, Any]:
        """The part that a resumed run must share.

        More epochs go on from where a run is, so they are not in it, unless the whole schedule depends on them. The
        epochs to keep change no weight, but a history cannot be begun, or changed, in the middle: they are in it where
        there are any.
        """
        free = set(self._FREE) - ({"max_epochs"} if self.recipe.schedule in ("one-cycle", "log-space") else set())
        free |= set() if self.keep_epochs else {"keep_epochs"}
        found = {name: value for name, value in json.loads(json.dumps(asdict(self))).items() if name not in free}
        # the plan's epochs and terms count; a source is words
        del found["recipe"]["keep_epochs"], found["recipe"]["losses"], found["recipe"]["source"]
        return found

    def title(self) -> str:
        """A readable folder name, with a digest that keeps different plans apart."""
        methods = "+".join(term.method for term in self.terms if term.factor and term.method != "ce") or "alone"
        few = f"-{self.samples_per_class}" if self.samples_per_class else ""
        content = json.dumps([self.identity(), self.teacher_path, self.student_path, self.trunk_path], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        student = self.student.replace(":", "-")  # no file of Windows has a colon
        return f"{self.dataset}{few}-{student}-{methods}-seed{self.seed}-{digest}"


def classmates(plans: Sequence[Plan]) -> dict[str, Plan]:
    """The plans by the names that tell them apart, each with a folder and a file of weights of its own."""
    if len(plans) == 1:
        return {"": plans[0]}
    for plan in plans[1:]:
        _refuse_what_is_not_shared(plans[0].shared(), plan.shared())
    named: dict[str, Plan] = {}
    labels = [plan.label() for plan in plans]
    for plan, label in zip(plans, labels, strict=True):
        if labels.count(label) > 1:
            label = f"{label}-{plan.title()[-8:]}"
        if label in named:
            raise UserError(f"two students are alike ({label}); give each another --seed, --loss or network.")
        named[label] = plan
    folders = [plan.output_dir for plan in plans]
    files = [plan.state_dict_path for plan in plans]
    for label, plan in named.items():
        if plan.output_dir is not None and folders.count(plan.output_dir) > 1:
            plan = replace(plan, output_dir=str(Path(plan.output_dir) / label))
        if plan.state_dict_path is not None and files.count(plan.state_dict_path) > 1:
            path = Path(plan.state_dict_path)
            plan = replace(plan, state_dict_path=str(path.with_name(f"{path.stem}-{label}{path.suffix}")))
        named[label] = plan
    return named


def _refuse_what_is_not_shared(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in one.items():
        if other[name] != value:
            raise UserError(
                f"students of one run share {name}, but {value!r} and {other[name]!r} were given; "
                "train those that differ in runs of their own."
            )
