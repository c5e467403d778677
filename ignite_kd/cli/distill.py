"""Train a student of the zoo with a teacher, with the flags of its distill.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import command_line, option
from ignite_kd.cli.training import TrainingCommand, plan_of
from ignite_kd.cli.zoo import network, prepared, recipe_of, shown_result, zoo_options
from ignite_kd.errors import UserError

__all__ = ["command"]


@click.command("distill", cls=TrainingCommand)
@option("--teacher", group="Networks", default="", metavar="KIND", help="resnet or wideresnet.")
@option("--depth", group="Networks", default=0, help="The teacher's depth.")
@option(
    "--wfactor", group="Networks", default=1, type=click.IntRange(1), help="How much wider a wideresnet teacher is."
)
@option("--tn", group="Networks", default="", help="The number of the teacher's training.")
@option(
    "--path-t",
    group="Networks",
    metavar="FILE",
    help="The teacher's weights.  [default: those that `train` with --tn left]",
)
@option("--student", group="Networks", default="", metavar="KIND", help="resnet or wideresnet.")
@option("--sdepth", group="Networks", default=0, help="The student's depth.")
@option(
    "--swfactor", group="Networks", default=1, type=click.IntRange(1), help="How much wider a wideresnet student is."
)
@option("--distype", group="Loss", default="", metavar="METHOD", help="KD, FN, NST, AT, RKD, SP or OD.")
@option("--stn", group="Run", default="", help="The number of this distillation: names its folder.")
@zoo_options()
def command(
    teacher: str, depth: int, wfactor: int, tn: str, path_t: str | None,
    student: str, sdepth: int, swfactor: int, stn: str, distype: str, shown: str | None, **shared: Any,
) -> Any:  # fmt: skip
    """Train a student on labels and on a trained teacher, with the factor of the CIFAR-100 benchmark."""
    if shown:
        return shown_result(shown)
    from ignite_kd.recipes import zoo

    taught_by = network(teacher, depth, wfactor, ("--teacher", "--depth", "--wfactor"))
    name = network(student, sdepth, swfactor, ("--student", "--sdepth", "--swfactor"))
    if not distype:
        raise UserError(f"--distype is missing: the method, one of {', '.join(zoo.METHODS)}.")
    recipe = recipe_of(shared)
    terms = zoo.terms(distype, recipe)
    base, full = Path("checkpoints") / shared["dataset"], f"{name}_distilled_by_{taught_by}_{tn}th"
    return plan_of(
        prepared(shared, base / full / distype.upper() / stn) | {"recipe": recipe},
        student=name,
        teacher=taught_by,
        teacher_path=path_t or str(_weights_of(shared["dataset"], taught_by, tn)),
        terms=terms,
        command=command_line(),
    )


def _weights_of(dataset: str, teacher: str, number: str) -> Path:
    """Where a teacher's training left its weights; the released code writes to `checkpoints` but reads `checkpoint`."""
    folders = [Path(top) / dataset / teacher / "Baseline" / number for top in ("checkpoints", "checkpoint")]
    tried = [folder / name for folder in folders for name in ("best_weight.pth", "weight.pth")]
    for path in tried:
        if path.exists():
            return path
    raise UserError(
        f"there is no trained {teacher} in {folders[0]} (best_weight.pth or weight.pth); train it: "
        f"ignite-kd train --type {dataset} … --tn {number or '1'}, or name a file with --path-t."
    )
