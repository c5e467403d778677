"""Train a network of the zoo alone, with the flags of its train.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import command_line, option
from ignite_kd.cli.training import TrainingCommand, plan_of
from ignite_kd.cli.zoo import network, prepared, recipe_of, shown_result, zoo_options

__all__ = ["command"]


@click.command("train", cls=TrainingCommand)
@option("--model", group="Network", default="", metavar="KIND", help="resnet or wideresnet.")
@option("--depth", group="Network", default=0, help="Its depth: 20, 32, 44, 56, 110; wideresnet 6n + 4.")
@option("--wfactor", group="Network", default=1, type=click.IntRange(1), help="How much wider a wideresnet is.")
@option("--tn", group="Run", default="", help="The number of this training: names its folder.")
@zoo_options()
def command(model: str, depth: int, wfactor: int, tn: str, shown: str | None, **shared: Any) -> Any:
    """Train a teacher, or the student that a distillation is compared with, on labels alone."""
    if shown:
        return shown_result(shown)
    from ignite_kd.terms import Term

    name = network(model, depth, wfactor, ("--model", "--depth", "--wfactor"))
    recipe = recipe_of(shared)
    folder = Path("checkpoints") / shared["dataset"] / name / "Baseline" / tn
    return plan_of(
        prepared(shared, folder) | {"recipe": recipe},
        student=name,
        terms=(Term("ce"),),
        command=command_line(),
    )
