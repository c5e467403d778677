"""Take a trained network out: plain weights, a program of torch.export, ONNX."""

from __future__ import annotations

from typing import Any

import click

from ignite_kd.cli.options import GroupedCommand, command_line, option

__all__ = ["command"]


@click.command("export", cls=GroupedCommand)
@click.argument("source", metavar="RUN_OR_FILE")
@option("--output", group="Output", required=True, metavar="FILE", help="Where to; its card goes beside it.")
@option(
    "--format",
    group="Output",
    type=click.Choice(["weights", "torch-export", "onnx"]),
    help="A plain state dict, a program of torch.export, or ONNX.  [default: by FILE's suffix: .pt2, .onnx, any other]",
)
@option(
    "--with-normalisation",
    group="Output",
    is_flag=True,
    help="The program takes pixels from 0 to 1 (a byte divided by 255) and normalises them itself.",
)
@option(
    "--which",
    group="Network",
    type=click.Choice(["last", "best"]),
    help="Of a run: the last epoch, or the best one on validation.  [default: last]",
)
@option("--model", group="Network", metavar="NAME", help="The network, where neither card nor shapes tell it.")
@option("--num-classes", group="Network", type=click.IntRange(1), help="How many classes, where these do not tell.")
@option(
    "--image-size", group="Network", type=click.IntRange(8), help="Edge of the images.  [default: the card's, else 32]"
)
@option("--dataset", group="Data", help="Whose normalisation it learned with, where no card says it.")
@option(
    "--data-dir",
    group="Data",
    default="./data/",
    metavar="DIR",
    help="Where that data is; logits are compared on its images too, if it is there.",
)
def command(source: str, output: str, **settings: Any) -> None:
    """Write the trained network in RUN_OR_FILE, a run's folder or a file of weights, for use elsewhere.

    The file that is written is loaded again; its logits must be those of the original.
    """
    from ignite_kd.export import export  # torch is imported here

    click.echo("\n".join(export(source, output, **settings, command=command_line()).lines()))
