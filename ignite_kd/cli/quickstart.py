"""Distillation that can be watched, without data and without a GPU."""

from __future__ import annotations

from pathlib import Path

import click

from ignite_kd.cli.options import GroupedCommand, option

__all__ = ["command"]


@click.command("quickstart", cls=GroupedCommand)
@option("--seeds", group="Run", default=3, type=click.IntRange(1), help="How many times to repeat it.")
@option("--output-dir", group="Run", metavar="DIR", help="Where results go.  [default: one under ./runs/]")
def command(seeds: int, output_dir: str | None) -> int:
    """Train a small teacher, then students of few images: alone, with KD, with VID. About two minutes on a CPU."""
    from ignite_kd import run_folder
    from ignite_kd.errors import UserError
    from ignite_kd.files import check_writable
    from ignite_kd.quickstart import quickstart

    folder = Path(output_dir) if output_dir else run_folder.fresh(Path("runs") / "quickstart")[0]
    if (folder / "run.json").exists():
        raise UserError(f"{folder} holds a run already; choose another --output-dir.")
    check_writable(folder / "run.json")
    quickstart(folder, range(seeds), click.echo)
    return 0
