"""Fill cells of a published table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import SEED, GroupedCommand, command_line, machine_options, option, time_limit_option
from ignite_kd.errors import UserError

__all__ = ["command"]


@click.command("reproduce", cls=GroupedCommand)
@click.argument("table", metavar="TABLE", required=False)
@option(
    "--row", "rows", group="Cells", multiple=True, metavar="METHOD", help="A row: teacher, student, kd, …; repeatable."
)
@option(
    "--column",
    "columns",
    group="Cells",
    multiple=True,
    metavar="NAME",
    help="A column: 500, or wrn_40_2:wrn_16_2; repeatable.",
)
@option("--cell", "cells", group="Cells", multiple=True, metavar="METHOD:NAME", help="A cell; repeatable.")
@option(
    "--trials",
    group="Cells",
    type=click.IntRange(1),
    default=3,
    metavar="N",
    help="Trainings of each cell, seeds 0, 1, ….",
)
@option(
    "--trial",
    "seeds",
    group="Cells",
    multiple=True,
    type=SEED,
    metavar="SEED",
    help="In place of --trials: only the trainings of this seed, as for one of several machines; repeatable.",
)
@option("--measured", group="Cells", is_flag=True, help="Train nothing: show what this package's authors measured.")
@option(
    "--epochs-scale",
    group="Training",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    metavar="X",
    help="Multiply all that counts epochs; such results are marked, never compared.",
)
@option(
    "--students-per-teacher",
    group="Training",
    type=click.IntRange(1),
    default=4,
    metavar="N",
    help="Students that learn at once from a teacher that looks once at each batch.",
)
@option(
    "--teacher",
    "teachers",
    group="Training",
    multiple=True,
    metavar="FILE",
    help="Trained weights of a teacher; repeatable.  [default: those in state_dict/, else trained]",
)
@option(
    "--trials-from",
    group="Training",
    multiple=True,
    metavar="FILE",
    help="trials.jsonl of another folder or machine: what is finished there is not trained again; repeatable.",
)
@option(
    "--data-dir", group="Training", default="./data/", metavar="DIR", help="Where the data is, or is downloaded to."
)
@option(
    "--output-dir",
    group="Training",
    metavar="DIR",
    help="Where all goes: trials/, runs/, teachers/, table.md.  [default: runs/tables/TABLE]",
)
@time_limit_option("Training")
@machine_options(restarts=False)
def command(table: str | None, **options: Any) -> int:
    """Train what a table's cells need, and put mean ± standard deviation beside the published numbers.

    Without a TABLE, name those there are. Stop it at any time: the same command goes on where it was, and what is
    finished is never trained again.
    """
    from ignite_kd import tables

    if table is None:
        width = max(map(len, tables.names()))
        for name in tables.names():
            known = tables.get(name)
            click.echo(f"{name:<{width}} {len(known.rows)} rows × {len(known.columns)} columns: {known.title}")
            click.echo(f"{'':<{width}} source: {known.source}")
        return 0
    known = tables.get(table)
    cells = known.choose(options.pop("rows"), options.pop("columns"), options.pop("cells"))
    if not cells:
        raise UserError(
            f"{table} has no number at these cells (not applicable); name one by --cell to train it all the same."
        )
    if options.pop("measured"):
        from ignite_kd.tables import measured

        click.echo(measured.show(known, cells))
        return 0
    return _fill(known, cells, **options)


def _fill(
    table: Any,
    cells: Any,
    *,
    trials: int,
    seeds: Sequence[int],
    epochs_scale: float,
    students_per_teacher: int,
    **options: Any,
) -> int:
    from ignite_kd.launch import processes_around

    if processes_around() > 1:
        raise UserError("reproduce starts processes itself: say --nproc-per-node N, and leave torchrun out.")

    from ignite_kd.tables import report
    from ignite_kd.tables.plans import Machine
    from ignite_kd.tables.reproduce import Reproduction

    short = f"-x{epochs_scale:g}" if epochs_scale != 1 else ""
    folder = Path(options.pop("output_dir") or f"runs/tables/{table.name}{short}")
    machine = Machine(
        data_dir=options.pop("data_dir"),
        device=options.pop("device"),
        precision=options.pop("precision"),
        compile=options.pop("compile_"),
        processes=options.pop("nproc_per_node"),
        command=command_line(),
    )
    work = Reproduction(
        table,
        folder,
        machine,
        scale=epochs_scale,
        group=students_per_teacher,
        given=options.pop("teachers"),
        finished=options.pop("trials_from"),
        say=click.echo,
        **options,
    )
    status = work.run(cells, list(dict.fromkeys(seeds)) or range(trials))
    shown = table.with_teachers(cells)
    found = [trial for trial in work.place.trials() if trial.cell in shown]
    if found:
        click.echo("\n" + report.markdown(table, found))
    click.echo(f"\nfolder   {folder}" + ("" if status == 0 else "; not all is there yet, the same command goes on"))
    return status
