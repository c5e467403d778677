"""Put runs side by side."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import GroupedCommand, device_option, option

__all__ = ["command"]


@click.command("compare", cls=GroupedCommand)
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN…]")
@option(
    "--reference",
    group="Runs",
    metavar="RUN",
    help="The run that differences are counted from.  [default: the first one]",
)
@option(
    "--teacher",
    group="Runs",
    metavar="FILE",
    help="The teacher of all runs.  [default: the one that each run's record names]",
)
@option(
    "--on",
    group="Data",
    type=click.Choice(["test", "validation"]),
    default="test",
    help="The images: the test set, or those that all runs kept apart.",
)
@option("--images", group="Data", type=click.IntRange(4), metavar="N", help="Take N of them, always the same.")
@option("--data-dir", group="Data", metavar="DIR", help="Where the data is.  [default: where the runs' was]")
@option("--num-workers", group="Data", type=click.IntRange(0), default=4, help="Processes that read 'folder's images.")
@device_option("Machine")
@option("--json", "as_json", group="Output", is_flag=True, help="For machines.")
@option("--output-dir", group="Output", metavar="DIR", help="Write compare.md, compare.json and pictures there, too.")
def command(runs: tuple[str, ...], as_json: bool, output_dir: str | None, **settings: Any) -> int:
    """Compare runs: accuracy, calibration, agreement with the teacher, classes, stages.

    A RUN is a run's folder, whose last weights are taken, or a file of weights with its card. Runs of any methods,
    networks and recipes, as long as they learned the same data.
    """
    from ignite_kd.comparison import compare, markdown  # torch is imported here
    from ignite_kd.files import atomic_write, check_writable
    from ignite_kd.handlers import plots

    folder = None if output_dir is None else Path(output_dir)
    if folder is not None:
        check_writable(folder / "compare.json")
    found = compare(runs, **settings)
    told = json.dumps(found.to_json(), indent=2, ensure_ascii=False)
    click.echo(told if as_json else markdown(found, whole=False), nl=as_json)
    if folder is not None:
        atomic_write(folder / "compare.json", told + "\n")
        pictures = []
        if plots.available():
            from ignite_kd.comparison.pictures import draw

            pictures = plots.attempt(lambda: draw(found, folder), partial(click.echo, err=True)) or []
        else:
            click.echo("pictures need matplotlib; install it with: pip install matplotlib", err=True)
        atomic_write(folder / "compare.md", markdown(found, pictures=pictures))
        click.echo(f"written  {folder}: {', '.join(['compare.md', 'compare.json', *pictures])}", err=as_json)
    return 0
