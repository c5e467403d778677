"""One training, said in plain values: what a command line asks for and what a run's record keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ignite_kd.recipes.base import Recipe
from ignite_kd.terms import Term

__all__ = ["Plan", "Term"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides what a training does. Plain values, so it travels to processes and into JSON."""

    student: str
    recipe: Recipe
    dataset: str = "cifar10"
    teacher: str | None = None
    teacher_path: str | None = None
    student_path: str | None = None
    terms: Sequence[Term] = ()
    max_epochs: int = 200
    samples_per_class: int | None = None
    image_size: int | None = None
    seed: int = 0
    precision: str = "fp32"
    compile: bool = False
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
        "command", "teacher_path", "student_path", "max_epochs", "processes",
    )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """The part that a resumed run must share. More epochs go on from where a run is, so they are not in it."""
        return {name: value for name, value in json.loads(json.dumps(asdict(self))).items() if name not in self._FREE}

    def title(self) -> str:
        """A readable folder name, with a digest that keeps different plans apart."""
        methods = "+".join(term.method for term in self.terms if term.factor and term.method != "ce") or "alone"
        few = f"-{self.samples_per_class}" if self.samples_per_class else ""
        content = json.dumps([self.identity(), self.teacher_path, self.student_path], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return f"{self.dataset}{few}-{self.student}-{methods}-seed{self.seed}-{digest}"
