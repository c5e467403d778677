"""Say what a file of weights is, and how good."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from ignite_kd.cli.options import GroupedCommand, device_option, option

__all__ = ["command"]


@click.command("evaluate", cls=GroupedCommand)
@click.argument("file")
@option(
    "--model",
    group="Network",
    metavar="NAME",
    help="The network.  [default: by the file's card, its names and shapes, or its folder's name]",
)
@option(
    "--dataset",
    group="Data",
    help="cifar10, cifar100, folder or shapes.  [default: the card's, else by the number of classes]",
)
@option("--data-dir", group="Data", default="./data/", metavar="DIR", help="Where the data is, or is downloaded to.")
@option(
    "--split",
    "part",
    group="Data",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    help="The images: of a training set those that the card says were kept apart, or learned from.",
)
@option(
    "--image-size", group="Data", type=click.IntRange(8), help="Edge of 'folder's images.  [default: the card's, or 32]"
)
@option("--num-workers", group="Data", type=click.IntRange(0), default=4, help="Processes that read 'folder's images.")
@device_option("Machine")
@option(
    "--precision",
    group="Machine",
    type=click.Choice(["fp32", "bf16", "tf32"]),
    help="Number format of the network's arithmetic.  [default: the card's where the device has it, else fp32]",
)
@option("--json", "as_json", group="Output", is_flag=True, help="For machines.")
def command(file: str, as_json: bool, **settings: Any) -> int:
    """Evaluate the weights in FILE, of this package or of another code: what they are, top-1, top-5 and loss.

    Where a card lies beside FILE (FILE.json), what it tells is checked; the exit status is 1 where it is not true.
    """
    from ignite_kd.evaluate import evaluate_file  # torch is imported here
    from ignite_kd.finite import finite

    report = evaluate_file(file, **settings)
    if as_json:
        click.echo(json.dumps(finite(asdict(report)), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(report.lines()))
    return 1 if report.check.differences else 0
