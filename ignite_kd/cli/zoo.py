"""What `train` and `distill` share: the flags of the zoo (seed 002), its names of networks and its folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import all_of, folder_options, machine_options, option, seed_option, students_options
from ignite_kd.errors import UserError
from ignite_kd.recipes import Recipe, get
from ignite_kd.recipes.zoo import milestones

__all__ = ["network", "prepared", "recipe_of", "shown_result", "zoo_options"]


def zoo_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of the recipe, the data, the run and the machine."""
    group = "Recipe"
    return all_of(
        option("--recipe", group=group, default="zoo", help="zoo; fields may be changed: zoo,nesterov=true."),
        option("--epochs", group=group, type=click.IntRange(1),
               help="Epochs to train; the rate falls at half and three quarters.  [default: 200]"),
        option("--start-epoch", group=group, type=click.IntRange(0), default=0, show_default=False,
               help="Accepted, without effect: --resume knows where a run is."),
        option("-b", "--batch-size", group=group, type=click.IntRange(1), help="Images a step.  [default: 64]"),
        option("--lr", "--learning-rate", "learning_rate", group=group, type=float,
               help="To start with.  [default: 0.1]"),
        option("--momentum", group=group, type=float, help="Of the descent.  [default: 0.9]"),
        option("--weight-decay", "--wd", group=group, type=float, help="On every parameter.  [default: 0.0005]"),
        option("--type", "dataset", group="Data", default="cifar100", help="cifar10, cifar100, folder or shapes."),
        option("--data-dir", group="Data", default="./data/", metavar="DIR", help="Where the data is, or comes to."),
        option("-j", "--workers", "num_workers", group="Data", type=click.IntRange(0), default=4,
               help="Processes that read images; only 'folder' reads any."),
        option("--samples-per-class", group="Data", type=click.IntRange(1), metavar="M", help="Learn from M a class."),
        option("--image-size", group="Data", type=click.IntRange(8), help="Edge of 'folder's images.  [default: 32]"),
        seed_option(),
        folder_options("one under ./checkpoints/"),
        students_options(),
        option("-p", "--print-freq", "ignored_frequency", group="Run", type=int, show_default=False,
               help="Accepted, without effect: progress shows itself."),
        option("--test", "shown", group="Run", metavar="FILE", help="Say what is known of trained weights, and end."),
        machine_options(),
    )  # fmt: skip


def recipe_of(settings: dict[str, Any]) -> Recipe:
    """The recipe with what the flags in `settings` change; they are taken out of it."""
    word = settings.pop("recipe")
    recipe = get(word)
    names = ("epochs", "batch_size", "learning_rate", "momentum", "weight_decay")
    changes = {name: value for name in names if (value := settings.pop(name)) is not None}
    if "epochs" in changes and "milestones=" not in word:
        changes["milestones"] = milestones(changes["epochs"])
    for ignored in ("start_epoch", "ignored_frequency"):
        settings.pop(ignored)
    return dataclasses.replace(recipe, **changes)


def network(kind: str, depth: int, factor: int, flags: tuple[str, str, str]) -> str:
    """The name of a network: resnet and 32 make `resnet32`; wideresnet, 16 and 4 `wideresnet16_4`."""
    what, deep, wide = flags
    if kind not in ("resnet", "wideresnet"):
        came = f"not '{kind}'" if kind else "and is missing"
        raise UserError(f"{what} takes resnet or wideresnet, {came}.")
    if not depth:
        raise UserError(
            f"{deep} is missing: the depth of the {kind} ({'32' if kind == 'resnet' else f'16, with {wide} 4'})."
        )
    return f"resnet{depth}" if kind == "resnet" else f"wideresnet{depth}_{factor}"


def prepared(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What is left of `settings` for `cli.training.plan_of`: a run in `folder` unless another was named."""
    folder = Path(settings.pop("output_dir") or folder)
    return settings | {"max_epochs": None, "output_dir": str(folder), "state_dict_path": str(folder / "weight.pth")}


def shown_result(path: str) -> int:
    """What the card of trained weights says: epochs and accuracies."""
    from ignite_kd.cards import read_card, spent_on

    card = read_card(path)
    if card is None:
        raise UserError(f"there is no card beside {path}; measure it: ignite-kd evaluate {path} --dataset cifar100.")
    found = ((card.get("results") or {}).get("test") or {}).get("last")
    numbers = found if isinstance(found, dict) else {}
    percent = ", ".join(
        f"{title} {numbers[name]:.2%}" for title, name in (("top-1", "accuracy"), ("top-5", "top5")) if name in numbers
    )
    epochs, minutes = spent_on(card)
    spent = f"{epochs} epochs" + (f", {minutes:.0f} minutes" if minutes else "")
    click.echo(f"{path}: {card.get('model')} on {card.get('dataset')}, {spent}, {percent or 'not tested'}")
    return 0
