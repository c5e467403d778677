"""Kill a training at random steps, resume it, and compare it with one that was left in peace."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import signal
import tempfile
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import Tensor

from ignite_kd import data, models
from ignite_kd.errors import RunFailed
from ignite_kd.handlers import Checkpoints, RunRecord
from ignite_kd.plan import Plan
from ignite_kd.weights import save_weights

__all__ = ["verify_resume"]


def verify_resume(plan: Plan, kills: int, seed: int, workplace: Path) -> dict[str, Any]:
    """Train `plan` twice under `workplace`; says at which steps it was killed and what came out bit-equal."""
    with tempfile.TemporaryDirectory(prefix="verify-resume-", dir=workplace) as name:
        place = Path(name)
        torch.manual_seed(seed)
        classes = data.load(plan.dataset, plan.data_dir).num_classes
        save_weights(place / "teacher.th", models.build(str(plan.teacher), classes).state_dict(), card={})
        plan = dataclasses.replace(plan, teacher_path=str(place / "teacher.th"))
        peaceful = dataclasses.replace(plan, output_dir=str(place / "peaceful"))
        killed = dataclasses.replace(plan, output_dir=str(place / "killed"))
        _run(peaceful)
        steps = _iterations(place / "peaceful")
        killed_at = sorted(random.Random(seed).sample(range(1, steps), min(kills, steps - 1)))
        for step in killed_at:
            _run(killed, kill_at=step)
        _run(killed)
        one, other = (_final(place / folder) for folder in ("peaceful", "killed"))
        equal = {name: _same(one[name], other[name]) for name in one}
    return {"steps": steps, "killed_at": killed_at, "seed": seed, "equal": equal}


def _run(plan: Plan, kill_at: int | None = None) -> None:
    """Train in a process of its own, which shares nothing with this one but the folder."""
    process = multiprocessing.get_context("spawn").Process(target=_train, args=(plan, kill_at))
    process.start()
    process.join()
    expected = 0 if kill_at is None else -signal.SIGKILL
    if process.exitcode != expected:
        raise RunFailed(f"the training ended with status {process.exitcode} where {expected} was expected.")


def _train(plan: Plan, kill_at: int | None) -> None:
    from ignite_kd.session import Session

    torch.set_num_threads(1)
    session = Session(plan)
    session.checkpoints.seconds = 0.1  # some checkpoints within an epoch, some steps done twice
    if kill_at is not None:
        session.student.add_event_handler(
            Events.ITERATION_COMPLETED(event_filter=lambda _, step: step == kill_at),
            lambda: os.kill(os.getpid(), signal.SIGKILL),
        )
    session.run()


def _iterations(folder: Path) -> int:
    return int(RunRecord(folder).read()[-1]["iteration"])


def _final(folder: Path) -> dict[str, Any]:
    """What the last checkpoint and the metrics hold, without what a clock wrote."""
    state = torch.load(Checkpoints(folder / "checkpoints", {}).files()[-1], map_location="cpu", weights_only=True)
    lines = [{key: value for key, value in line.items() if key != "seconds"} for line in RunRecord(folder).read()]
    return state | {"metrics": lines}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
