"""Whether the losses of cells can be built at all: found out before days go into their teachers and classmates."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.losses import build_head, first_stage
from ignite_kd.plan import Plan
from ignite_kd.tables.plans import student_plan
from ignite_kd.tables.table import Cell, Table

__all__ = ["check_losses"]

_IMAGES, _CLASSES = 50_000, 10  # what the data really has is known to the training, which checks it again
_SIZE = 32


def check_losses(table: Table, cells: Iterable[Cell]) -> None:
    """Build the heads of these cells once for networks of their kinds; costs a second or so a pair of networks."""
    pairs: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in filter(table.is_taught, cells):
        column = table.columns[cell.column]
        pairs.setdefault((column.teacher, column.student), {}).setdefault(cell.row, cell)
    labels = torch.arange(_IMAGES) % _CLASSES
    with torch.random.fork_rng(devices=[]):
        for names, rows in pairs.items():
            teacher, student = map(_built, names)
            for cell in rows.values():
                try:
                    _check(student_plan(table, cell, 0, None, 1.0), student, teacher, labels)
                except UserError as error:
                    raise UserError(f"cell {cell} of {table.name} cannot be trained: {error}") from None


def _built(name: str) -> nn.Module:
    try:
        return models.build(name, _CLASSES, **models.size_options(name, _SIZE))
    except (ValueError, AssertionError) as error:  # torchvision's words for a size that it does not take
        raise UserError(f"{name} cannot be built for images of {_SIZE}×{_SIZE}: {error}") from None


def _check(plan: Plan, student: nn.Module, teacher: nn.Module, labels: Tensor) -> None:
    heads = [build_head(term, plan.recipe, student, teacher, labels, _SIZE) for term in plan.terms if term.factor]
    if not any(counts for _, counts in [first_stage(head, student, plan.recipe) for head in heads]):
        raise UserError("after its first stage nothing would be learned; give another term a factor, e.g. ce:1.")
