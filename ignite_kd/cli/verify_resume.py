"""Proof that a killed training can be resumed to the same bits."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import SEED, GroupedCommand, option

__all__ = ["command"]


@click.command("verify-resume", cls=GroupedCommand)
@option("--dataset", group="Training", default="shapes", help="shapes, or cifar10 / cifar100 where their files are.")
@option("--data-dir", group="Training", default="./data/", metavar="DIR", help="Where the data is.")
@option(
    "--samples-per-class", group="Training", default=12, type=click.IntRange(1), metavar="M", help="Images a class."
)
@option("--batch-size", group="Training", default=16, type=click.IntRange(1), help="Images a step.")
@option("--max-epochs", group="Training", default=3, type=click.IntRange(1), help="Epochs to train.")
@option("--kills", group="Proof", default=1, type=click.IntRange(1), help="How often the training is killed.")
@option(
    "--seed",
    group="Proof",
    type=SEED,
    help="Of the steps at which to kill.  [default: a new one]",
)
def command(
    dataset: str, data_dir: str, samples_per_class: int, batch_size: int, max_epochs: int, kills: int, seed: int | None
) -> int:
    """Train a student with CE, KD and VID twice: once in peace, once killed (SIGKILL) at random steps and resumed.

    Exit status 0 where both end with the same bits: weights, optimizer, heads and metrics.
    """
    from ignite_kd import recipes
    from ignite_kd.plan import Plan, Term
    from ignite_kd.verify import verify_resume

    plan = Plan(
        student="wrn_10_1",
        teacher="wrn_10_1",
        recipe=recipes.get(f"vid,batch_size={batch_size},validation_images=200,test_at_end=false"),
        dataset=dataset,
        data_dir=data_dir,
        samples_per_class=samples_per_class,
        max_epochs=max_epochs,
        terms=(Term("ce"), Term("kd", 1.0, {"temperature": 2.0}), Term("vid", 0.1)),
        resume="auto",
        device="cpu",
    )
    report: dict[str, Any] = verify_resume(plan, kills, secrets.randbits(31) if seed is None else seed, Path.cwd())
    click.echo(
        f"{report['steps']} steps, killed at step {', '.join(map(str, report['killed_at']))} (seed {report['seed']})"
    )
    for name, equal in report["equal"].items():
        click.echo(f"{name:<10} {'bit-equal' if equal else 'DIFFERENT'}")
    return 0 if all(report["equal"].values()) else 1
