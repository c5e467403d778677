"""Train a network alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ignite_kd.cli.options import command_line, data_options, initial_option, machine_options, option, run_options
from ignite_kd.cli.training import TrainingCommand, plan_of

if TYPE_CHECKING:
    from ignite_kd.plan import Plan

__all__ = ["command"]


@click.command("train-without-transfer", cls=TrainingCommand)
@option("--depth", group="Network", default=16, help="Depth of the wide residual network, 6n + 4.")
@option("--width", group="Network", default=1, help="Its width.")
@option("--model", group="Network", metavar="NAME", help="Another network by name, instead of --depth and --width.")
@initial_option("Network")
@data_options()
@run_options(state_dict_path="./state_dict/teacher.th")
@machine_options()
def command(depth: int, width: int, model: str | None, initial_state_dict_path: str | None, **shared: Any) -> Plan:
    """Train a network on labels alone: a teacher, or the student that a transfer is compared with."""
    from ignite_kd.plan import Term

    return plan_of(
        shared,
        student=model or f"wrn_{depth}_{width}",
        student_path=initial_state_dict_path,
        terms=(Term("ce"),),
        command=command_line(),
    )
