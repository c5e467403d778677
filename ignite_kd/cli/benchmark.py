"""What `train-teacher` and `train-student` share: the flags of RepDistiller and ITRD, and the recipe they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import (
    all_of,
    data_options,
    folder_options,
    machine_options,
    option,
    seed_option,
    students_options,
)
from ignite_kd.errors import UserError
from ignite_kd.recipes import Recipe, get

__all__ = ["benchmark_options", "prepared", "recipe_of"]

_NUMBERS = {
    "batch_size": "batch_size",
    "init_epochs": "first_stage_epochs",
    "lr_decay_rate": "decay",
    "weight_decay": "weight_decay",
    "momentum": "momentum",
}


def benchmark_options(folder: str, trial: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of the recipe, the data, the run and the machine; those that are left open are the recipe's."""
    group = "Recipe"
    return all_of(
        option("--recipe", group=group, default="crd", help="crd; fields may be changed: crd,nesterov=true."),
        option("--epochs", group=group, type=click.IntRange(1), help="Epochs to train.  [default: 240]"),
        option("--batch_size", group=group, type=click.IntRange(1), help="Images a step.  [default: 64]"),
        option("--learning_rate", group=group, type=float,
               help="To start with.  [default: 0.05; 0.01 for MobileNetV2, ShuffleV1, ShuffleV2]"),
        option("--lr_decay_epochs", group=group, metavar="E,E…", help="It falls after these.  [default: 150,180,210]"),
        option("--lr_decay_rate", group=group, type=float, help="It is multiplied by this.  [default: 0.1]"),
        option("--weight_decay", group=group, type=float, help="On every parameter.  [default: 0.0005]"),
        option("--momentum", group=group, type=float, help="Of the descent.  [default: 0.9]"),
        data_options("cifar100"),
        option("-t", "--trial", group="Run", default=trial, help="A repetition: names the folder, and is the seed."),
        seed_option(None, "  [default: the trial, where that is a number]"),
        folder_options(folder),
        students_options(),
        option("--print_freq", "--tb_freq", "--save_freq", "ignored_frequency", group="Run", type=int,
               help="Accepted, without effect: progress shows itself, every epoch is saved."),
        machine_options(),
    )  # fmt: skip


def prepared(settings: dict[str, Any], folder: Path, network: str) -> dict[str, Any]:
    """What is left of `settings` for `cli.training.plan_of`: a run in `folder` unless another was named."""
    trial = settings.pop("trial")
    if settings["seed"] is None:
        settings["seed"] = int(trial) if trial.isdecimal() and len(trial) < 10 else 0
    folder = Path(settings.pop("output_dir") or folder)
    weights = folder / f"{network.replace(':', '-')}_last.pth"
    return settings | {"output_dir": str(folder), "state_dict_path": str(weights)}


def recipe_of(settings: dict[str, Any]) -> Recipe:
    """The recipe with what the flags in `settings` change; they are taken out of it."""
    recipe = get(settings.pop("recipe"))
    changes: dict[str, Any] = {
        field: value for flag, field in _NUMBERS.items() if (value := settings.pop(flag, None)) is not None
    }
    rate = settings.pop("learning_rate")
    if rate is not None:  # what is asked for holds for every network
        changes |= {"learning_rate": rate, "light_learning_rate": 0.0}
    epochs = settings.pop("lr_decay_epochs")
    if epochs is not None:
        try:
            changes["milestones"] = tuple(int(epoch) for epoch in epochs.split(",") if epoch.strip())
        except ValueError:
            raise UserError(
                f"--lr_decay_epochs takes epochs joined by commas, e.g. 150,180,210, not '{epochs}'."
            ) from None
    settings.pop("ignored_frequency")
    settings["max_epochs"] = settings.pop("epochs")  # no part of the recipe: a longer run goes on from a shorter one
    return dataclasses.replace(recipe, **changes)
