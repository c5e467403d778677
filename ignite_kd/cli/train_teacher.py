"""Train a network of the benchmark alone, with the flags of RepDistiller and ITRD."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ignite_kd.cli.benchmark import benchmark_options, prepared, recipe_of
from ignite_kd.cli.options import command_line, option
from ignite_kd.cli.training import TrainingCommand, plan_of

if TYPE_CHECKING:
    from ignite_kd.plan import Plan

__all__ = ["command"]


@click.command("train-teacher", cls=TrainingCommand)
@option("--model", group="Network", default="resnet110", metavar="NAME", help="Any of `ignite-kd list models`.")
@benchmark_options("one under ./save/models/", trial="0")
def command(model: str, **shared: Any) -> Plan:
    """Train a teacher, or the student that a transfer is compared with, on labels alone."""
    from ignite_kd.terms import Term

    recipe = recipe_of(shared)
    words = (
        model,
        shared["dataset"],
        "lr",
        recipe.rate_of(model),
        "decay",
        recipe.weight_decay,
        "trial",
        shared["trial"],
    )
    folder = Path("save") / "models" / "_".join(map(str, words)).replace(":", "-")
    return plan_of(
        prepared(shared, folder, model) | {"recipe": recipe},
        student=model,
        terms=(Term("ce"),),
        command=command_line(),
    )
