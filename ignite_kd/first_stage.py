"""What a method trains before the student proper learns: a short run of its own, on the same engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ignite_kd.engines import StudentEngine
from ignite_kd.handlers import (
    AverageGradients,
    Checkpoints,
    Console,
    EpochMeans,
    RunRecord,
    SeedSteps,
    StopOnNonFinite,
)
from ignite_kd.heads.first_stage import FirstStage
from ignite_kd.optimizer import sgd

if TYPE_CHECKING:
    from ignite_kd.session import Session

__all__ = ["train_first_stage"]


def train_first_stage(session: Session, name: str, stage: FirstStage) -> bool:
    """Train `stage` of the method `name`, or go on with it; says whether it came to its end.

    Everything of it lies in the run's folder under `first-stage-<name>`. A stop or a kill costs what it costs in the
    training itself: nothing, or the steps since the last checkpoint.
    """
    plan, recipe, loader = session.plan, session.recipe, session.data.train
    assert session.teacher is not None
    if stage.frozen_otherwise:
        stage.learner.requires_grad_(True)
    learning = [p for p in stage.learner.parameters() if p.requires_grad]
    optimizer = sgd(recipe, learning, stage.learning_rate or recipe.rate_of(plan.student))
    engine = StudentEngine(stage.learner, optimizer, session.device, session.precision)
    SeedSteps(plan.seed, session.rank).attach(engine)
    taught = session.teacher.attach(engine)
    attached = stage.term.attach(engine)
    if session.processes > 1:
        AverageGradients().attach(engine)
    means, finite = EpochMeans(), StopOnNonFinite()
    means.attach(engine)
    finite.attach(engine)
    folder = session.folder / f"first-stage-{name}"
    console = Console(total_epochs=recipe.first_stage_epochs, shown=("train/loss",), label=session.label)
    checkpoints = Checkpoints(folder / "checkpoints", engine.to_save() | {"means": means}, check=finite.check)
    record = RunRecord(folder)
    if session.rank == 0:
        record.attach(engine)
        console.attach(engine)
    checkpoints.attach(engine)
    session.stopping.attach(engine)

    checkpoints.load_latest()
    record.truncate(engine.state.iteration // len(loader))
    total = recipe.first_stage_epochs * len(loader)
    if engine.state.iteration < total:
        session.say(f"first    {name}: {recipe.first_stage_epochs} epochs before the student proper learns")
        try:
            engine.run(loader, max_epochs=recipe.first_stage_epochs)
        finally:
            console.close()
    if stage.frozen_otherwise:
        stage.learner.requires_grad_(False)
    attached.remove()
    taught.remove()
    return engine.state.iteration >= total
