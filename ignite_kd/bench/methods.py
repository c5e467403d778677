"""A short real training by each method: does its loss fall, and stay a number?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ignite_kd import run_folder
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.handlers import RunRecord
from ignite_kd.plan import Plan
from ignite_kd.recipes import crd, get
from ignite_kd.session import Session

__all__ = ["Proof", "prove_methods"]


@dataclasses.dataclass(frozen=True)
class Proof:
    """Means over the first and the last epoch: of the method's own term (unweighted) and of the whole loss.

    Of a method that teaches in a first stage alone, the term is that of the first stage.
    """

    name: str
    term: tuple[float, float] = (0.0, 0.0)
    loss: tuple[float, float] = (0.0, 0.0)
    accuracy: float = 0.0  # on the test set, last epoch
    seconds: float = 0.0
    failed: str = ""

    def falls(self) -> bool:
        """Whether both ended lower than they began, and nothing stopped the training."""
        return not self.failed and self.term[1] < self.term[0] and self.loss[1] < self.loss[0]


def prove_methods(
    teacher: str,
    teacher_path: str,
    student: str,
    folder: Path,
    names: Iterable[str] = (),
    learning_rate: float | None = None,
    **plan: Any,
) -> Iterator[Proof]:
    """Train `student` by each method with its published factor; every run's folder is kept under `folder`.

    Always anew, in a folder that is free: what is to be proved is this very code.
    """
    epochs = plan["max_epochs"]
    for name in names or crd.methods():
        started = time.monotonic()
        cross_entropy, term = crd.terms(name, teacher, student)
        # a warm-up of 20 epochs would make the factor of a short run grow faster than its loss falls
        terms = (cross_entropy, dataclasses.replace(term, warm_up=0))
        recipe = dataclasses.replace(get("crd"), first_stage_epochs=epochs)
        if learning_rate is not None:
            recipe = dataclasses.replace(recipe, learning_rate=learning_rate, light_learning_rate=0.0)
        run, _ = run_folder.fresh(folder / name)
        session = None
        try:
            session = Session(
                Plan(
                    student=student,
                    recipe=recipe,
                    teacher=teacher,
                    teacher_path=teacher_path,
                    terms=terms,
                    output_dir=str(run),
                    **plan,
                )
            )
            if session.run():  # stopped in good order
                return
        except (RunFailed, UserError) as error:
            yield Proof(name, failed=str(error))
            continue
        finally:
            if session is not None:
                session.close()
        lines, first = RunRecord(run).read(), RunRecord(run / f"first-stage-{name}").read()
        own = [line[f"train/loss.{name}"] / term.factor for line in lines if f"train/loss.{name}" in line]
        own = own or [line[f"train/loss.{name}"] for line in first]
        test = session.record.load()["results"]["test"]["last"]["accuracy"]
        whole = (lines[0]["train/loss"], lines[-1]["train/loss"])
        yield Proof(name, (own[0], own[-1]), whole, test, time.monotonic() - started)
