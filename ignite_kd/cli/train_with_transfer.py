"""Train a student with a teacher."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import click

from ignite_kd.cli.options import (
    command_line,
    data_options,
    given,
    initial_option,
    machine_options,
    option,
    run_options,
)
from ignite_kd.cli.training import TrainingCommand, plan_of

if TYPE_CHECKING:
    from ignite_kd.plan import Plan

__all__ = ["command"]


@click.command("train-with-transfer", cls=TrainingCommand)
@option("--student-depth", group="Networks", default=16, help="Depth of the student's wide residual network.")
@option("--student-width", group="Networks", default=1, help="Its width.")
@option("--teacher-depth", group="Networks", default=40, help="Depth of the teacher's wide residual network.")
@option("--teacher-width", group="Networks", default=2, help="Its width.")
@option("--student", group="Networks", metavar="NAME", help="Another student by name.")
@option("--teacher", group="Networks", metavar="NAME", help="Another teacher by name.")
@option(
    "--teacher-state-dict-path",
    group="Networks",
    default="./state_dict/teacher.th",
    metavar="FILE",
    help="The trained teacher's weights.",
)
@initial_option("Networks")
@option("--variational-information-distillation-factor", group="Loss", default=0.1, help="Weight of VID.")
@option("--knowledge-distillation-factor", group="Loss", default=1.0, help="Weight of KD.")
@option("--knowledge-distillation-temperature", group="Loss", default=2.0, help="Softening of KD.")
@option(
    "--loss",
    group="Loss",
    multiple=True,
    metavar="NAME:FACTOR[,option=value…]",
    help="A term of the loss, repeatable, instead of VID and KD, or of the recipe's own terms; cross-entropy has factor"
    " 1 unless ce:FACTOR.",
)
@data_options()
@run_options(state_dict_path="./state_dict/student_with_transfer.th")
@machine_options()
def command(
    student_depth: int,
    student_width: int,
    teacher_depth: int,
    teacher_width: int,
    student: str | None,
    teacher: str | None,
    teacher_state_dict_path: str,
    initial_state_dict_path: str | None,
    variational_information_distillation_factor: float,
    knowledge_distillation_factor: float,
    knowledge_distillation_temperature: float,
    loss: tuple[str, ...],
    **shared: Any,
) -> Plan:
    """Train a student on labels and on what a trained teacher makes of the same images."""
    from ignite_kd import recipes
    from ignite_kd.errors import UserError
    from ignite_kd.plan import Term

    temperature = knowledge_distillation_temperature
    if not temperature > 0:
        raise UserError(f"--knowledge-distillation-temperature should be positive, but {temperature} was given.")
    published = any(map(given, _PUBLISHED_TERMS))
    if loss and published:
        raise UserError(
            "--loss replaces the options of VID and KD; write them as terms, e.g. --loss vid:0.1 --loss kd:1."
        )
    recipe = shared["recipe"] = recipes.get(shared["recipe"])
    if published and recipe.losses:
        warnings.warn(
            f"the options of VID and KD replace the losses of recipe {recipe.name} ({', '.join(recipe.losses)}); leave "
            "all three out for these.",
            stacklevel=2,
        )
    named = [Term.read(word) for word in loss or (() if published else recipe.losses)]
    if not named:
        named = [
            Term("kd", knowledge_distillation_factor, {"temperature": temperature}),
            Term("vid", variational_information_distillation_factor),
        ]
    if not any(term.method == "ce" for term in named):
        named.insert(0, Term("ce"))
    return plan_of(
        shared,
        student=student or f"wrn_{student_depth}_{student_width}",
        student_path=initial_state_dict_path,
        teacher=teacher or f"wrn_{teacher_depth}_{teacher_width}",
        teacher_path=teacher_state_dict_path,
        terms=tuple(named),
        command=command_line(),
    )


_PUBLISHED_TERMS = (
    "variational_information_distillation_factor",
    "knowledge_distillation_factor",
    "knowledge_distillation_temperature",
)
