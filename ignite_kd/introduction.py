"""The beginning of a run: what learns what from whom, said in a few lines."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import TYPE_CHECKING

from ignite_kd import models, recipes
from ignite_kd.engines import EvaluationEngine

if TYPE_CHECKING:
    from ignite_kd.session import Session

__all__ = ["introduce"]


def introduce(session: Session) -> None:
    """Say the data and the teacher, once for classmates that share them, and the student with its loss and recipe."""
    plan, data, recipe = session.plan, session.data, session.recipe
    if session.is_first:
        learned = ""
        if data.split:
            learned = f"{len(data.split.train)} images to learn from, {len(data.split.validation)} to validate, "
        session.say(f"data     {plan.dataset}: {learned}{len(data.classes)} classes ({data.digest})")
        if session.teacher is not None:
            session.say(f"teacher  {plan.teacher} from {plan.teacher_path}: {_glance(session)}")
    start = f", starts from {plan.student_path}" if plan.student_path else ""
    size = models.parameters(session.model)
    session.say(f"student  {plan.student}, {size:,} parameters, on {session.device}{start}")
    session.say(f"loss     {' + '.join(str(term) for term in plan.terms if term.factor)}")
    told = recipes.told(recipe.name, recipes.changes_of(asdict(recipe)))
    quirks = ", ".join(recipe.quirks()) or "none"
    session.say(f"recipe   {told}; quirks of the released code that are on: {quirks}")
    session.say(f"folder   {session.folder}")


def _glance(session: Session) -> str:
    """How good the teacher is on some images that it did not see: a wrong file shows here, not after hours."""
    assert session.teacher is not None
    some = list(itertools.islice(session.data.validation or session.data.test or (), 2))
    engine = EvaluationEngine(session.teacher.model, session.device, session.precision)
    accuracy = engine.run(some).metrics["accuracy"]
    return f"right on {accuracy:.1%} of {sum(len(batch.labels) for batch in some)} held-out images"
