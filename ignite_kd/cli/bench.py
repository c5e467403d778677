"""Measurements."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

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


@command.command("methods", cls=GroupedCommand)
@option("--path_t", group="Networks", required=True, metavar="FILE", help="The trained teacher.")
@option("--model_s", group="Networks", default="wrn_16_2", metavar="NAME", help="The student's model.")
@option("--methods", group="Networks", metavar="NAME,NAME…", help="Which methods.  [default: all]")
@option("--epochs", group="Training", default=3, type=click.IntRange(2), help="Of a first stage too.")
@option("--learning-rate", group="Training", type=float, help="Another one than the benchmark's.")
@option("--samples-per-class", group="Training", default=10, type=click.IntRange(1), help="Images of CIFAR-100.")
@option("--data-dir", group="Training", default="./data/", metavar="DIR", help="Where CIFAR-100 is.")
@option(
    "--device", group="Training", default="auto", help="A GPU's number, cuda:1, cpu; auto takes a GPU if there is one."
)
@option("--output-dir", group="Training", default="./runs/bench-methods", metavar="DIR", help="For the runs' folders.")
def methods(
    path_t: str, model_s: str, methods: str | None, epochs: int, learning_rate: float | None, samples_per_class: int,
    data_dir: str, device: str, output_dir: str,
) -> int:  # fmt: skip
    """A short real training by each method: its loss should fall, and nothing should be NaN. Minutes on a CPU."""
    from pathlib import Path

    from ignite_kd.bench.methods import prove_methods
    from ignite_kd.recipes import crd
    from ignite_kd.recognise import teacher_name

    names = [crd.method_of(word.strip()) for word in methods.split(",")] if methods else []
    plan: dict[str, Any] = {"dataset": "cifar100", "max_epochs": epochs, "samples_per_class": samples_per_class}
    machine: dict[str, Any] = {"data_dir": data_dir, "device": device}
    folder, teacher = Path(output_dir), teacher_name(path_t)
    proofs = list(prove_methods(teacher, path_t, model_s, folder, names, learning_rate, **plan, **machine))
    click.echo(f"{'':<24}{'term, first and last epoch':>28}{'whole loss':>20}{'test':>8}{'s':>7}")
    for proof in proofs:
        if proof.failed:
            click.echo(f"{proof.name:<24}failed: {proof.failed}")
            continue
        term, loss = ("{:.5g} → {:.5g}".format(*pair) for pair in (proof.term, proof.loss))
        verdict = "" if proof.falls() else "  does not fall"
        click.echo(f"{proof.name:<24}{term:>28}{loss:>20}{proof.accuracy:>8.1%}{proof.seconds:>7.0f}{verdict}")
    return 0 if all(proof.falls() for proof in proofs) else 1


def _line(title: str, cost: object) -> str:
    found = vars(cost)
    milliseconds = f"{found['seconds'] * 1e3:>9.1f}{found['spread'] * 1e3:>8.1f}"
    return f"{title:<24}{milliseconds}{found['share']:>14.1%}{found['megabytes']:>10.1f}"
