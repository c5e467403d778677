"""From a cell to the training that fills it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ignite_kd import heads, recipes
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan, Term
from ignite_kd.recipes import Recipe, crd
from ignite_kd.tables.table import BENCHMARK, TEACHER, Cell, Column, Table
from ignite_kd.tables.trial import Trial
from ignite_kd.terms import check_terms

__all__ = ["Machine", "is_of_table", "scaled", "student_plan", "teacher_plan"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how fast: what does not belong to a table."""

    data_dir: str = "./data/"
    device: str = "auto"
    precision: str = "fp32"
    compile: str = "auto"
    num_workers: int = 4
    processes: int = 1
    command: str = ""


def student_plan(table: Table, cell: Cell, trial: int, teacher_path: str | None, scale: float, **settings: Any) -> Plan:
    """The training of a student. The trial is the seed of weights, order and augmentation."""
    column = table.columns[cell.column]
    words = [column.recipe or table.recipe, *filter(None, [table.changes.get(cell.row)])]
    recipe = scaled(recipes.get(",".join(words)), scale)
    terms = [dataclasses.replace(t, warm_up=_times(t.warm_up, scale)) for t in _terms(table, cell.row, column)]
    taught = table.is_taught(cell)
    return Plan(
        student=column.student,
        recipe=recipe,
        dataset=table.dataset,
        teacher=column.teacher if taught else None,
        teacher_path=teacher_path if taught else None,
        terms=terms,
        max_epochs=recipe.epochs,
        samples_per_class=column.samples_per_class,
        seed=trial,
        resume="auto",
        **settings,
    )


def teacher_plan(table: Table, name: str, scale: float, **settings: Any) -> Plan:
    """The training of a teacher that is not at hand."""
    recipe = scaled(recipes.get(table.teacher_recipe), scale)
    return Plan(
        student=name,
        recipe=recipe,
        dataset=table.dataset,
        terms=[Term("ce")],
        max_epochs=recipe.epochs,
        samples_per_class=table.teacher_samples_per_class,
        resume="auto",
        **settings,
    )


def is_of_table(trial: Trial, table: Table, scale: float) -> bool:
    """Whether a trial is of a cell as the table has it now: one of another form may bear its name."""
    if trial.cell not in table.cells():
        return False
    if trial.row == TEACHER:
        return trial.record.get("model") in (None, table.columns[trial.column].teacher)
    return not trial.strays_from(student_plan(table, trial.cell, trial.trial, None, scale))


def scaled(recipe: Recipe, scale: float) -> Recipe:
    """The recipe with all that counts epochs multiplied; 1 leaves it as it is."""
    if scale == 1:
        return recipe
    return dataclasses.replace(
        recipe,
        epochs=_times(recipe.epochs, scale),
        milestones=tuple(_times(milestone, scale) for milestone in recipe.milestones),
        first_stage_epochs=_times(recipe.first_stage_epochs, scale),
        patience=_times(recipe.patience, scale),
        validate_every=_times(recipe.validate_every, scale),
        keep_epochs=tuple(dict.fromkeys(_times(epoch, scale) for epoch in recipe.keep_epochs)),
    )


def _times(epochs: int, scale: float) -> int:
    return max(1, round(epochs * scale)) if epochs else 0


def _terms(table: Table, row: str, column: Column) -> list[Term]:
    losses = table.losses[row]
    if losses == BENCHMARK:
        return list(crd.terms(row, column.teacher, column.student))
    if isinstance(losses, str):
        raise UserError(
            f"row {row} of {table.name} should have a list of losses, or '{BENCHMARK}', but has '{losses}'."
        )
    terms = [Term.read(word) for word in losses]
    terms = terms if any(term.method == "ce" for term in terms) else [Term("ce"), *terms]
    for term in terms:
        heads.kind(term.method)
    check_terms(terms)
    return terms
