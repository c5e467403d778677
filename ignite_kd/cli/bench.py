"""Measurements."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ignite_kd.cli.options import GroupedCommand, option

__all__ = ["command"]


@click.group("bench")
def command() -> None:
    """Measure, and print a table."""


@command.command("heads", cls=GroupedCommand)
@option("--teacher", group="Networks", default="resnet32x4", help="The teacher's model.")
@option("--student", group="Networks", default="resnet8x4", help="The student's model.")
@option("--methods", group="Networks", metavar="NAME,NAME…", help="Which heads.  [default: all]")
@option("--batch-size", group="Measurement", default=64, type=click.IntRange(2), help="Images.")
@option("--rounds", group="Measurement", default=7, type=click.IntRange(1), help="How often each is measured.")
@option(
    "--device",
    group="Measurement",
    default="auto",
    help="A GPU's number, cuda:1, cpu; auto takes a GPU if there is one.",
)
@option("--json", "as_json", group="Measurement", is_flag=True, help="For machines.")
def heads(
    teacher: str, student: str, methods: str | None, batch_size: int, rounds: int, device: str, as_json: bool
) -> int:
    """Time and memory of each head, forward and backward, beside the student's own step."""
    from ignite_kd.bench.heads import bench_heads
    from ignite_kd.devices import pick_device
    from ignite_kd.recipes import crd

    names = [crd.method_of(word.strip()) for word in methods.split(",")] if methods else []
    step, costs = bench_heads(teacher, student, batch_size, rounds, str(pick_device(device)), names)
    if as_json:
        found = {"teacher": teacher, "student": student, "batch_size": batch_size, "rounds": rounds}
        click.echo(json.dumps(found | {"step": asdict(step), "heads": [asdict(cost) for cost in costs]}, indent=2))
        return 0
    click.echo(f"{teacher} → {student}, batch {batch_size}, median of {rounds} rounds (between the quartiles)")
    click.echo(f"{'':<24}{'ms':>9}{'±':>8}{'of the step':>14}{'peak MiB':>10}")
    click.echo(_line(f"{student} alone", step))
    for cost in costs:
        click.echo(f"{cost.name:<24}refused: {cost.refused}" if cost.refused else _line(cost.name, cost))
    return 0


def _line(title: str, cost: object) -> str:
    found = vars(cost)
    milliseconds = f"{found['seconds'] * 1e3:>9.1f}{found['spread'] * 1e3:>8.1f}"
    return f"{title:<24}{milliseconds}{found['share']:>14.1%}{found['megabytes']:>10.1f}"
