"""What `train-net` and `distillation` share: the flags of the quantification study (seed 004), its data and folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import (
    Decorator,
    all_of,
    folder_options,
    given,
    machine_options,
    option,
    seed_option,
    students_options,
    truth,
    unused,
)
from ignite_kd.errors import UserError, unknown
from ignite_kd.recipes import Recipe, concepts, get

__all__ = [
    "checked",
    "folder_of",
    "net_options",
    "network",
    "prepared",
    "recipe_of",
    "suggest",
    "weights_in",
]

WEIGHTS = "last.th"  # in a run's folder


def net_options(dataset: str, rate: float, decades: float, logspace: bool, print_every: int) -> Decorator:
    """The options of both scripts, with their defaults."""
    group = "Recipe"
    return all_of(
        option("--recipe", group=group, default="concepts",
               help="concepts; fields may be changed: concepts,views=strong,weight_decay=5e-4."),
        option("--lr", "learning_rate", group=group, type=float, default=rate, help="Of the first epoch."),
        option("--lr-down", "decades", group=group, type=float, default=decades,
               help="The last epoch's rate is that many powers of ten lower."),
        truth("--logspace", group, logspace, "Lower it evenly in its logarithm; false: it stays."),
        option("--batch-size", group=group, type=click.IntRange(1), default=64, help="Images a step."),
        option("--epochs", group=group, type=click.IntRange(1), default=150, help="Epochs to train."),
        option("--weight-decay", group=group, type=float, default=1e-4, help="On every parameter."),
        option("--momentum", group=group, type=float, default=0.9, help="Of the descent."),
        option("--dataset", group="Data", default=dataset,
               help="CUB, VOC or ILSVRC, cut as published; folder, shapes, cifar10 or cifar100."),
        option("--data-dir", group="Data", metavar="DIR",
               help="With train/<class>/… and val/<class>/… in it.  [default: ./data/<dataset>/; of cifar ./data/]"),
        option("--classes", group="Data", type=click.IntRange(1),
               help="Refuse data with another number of classes (CUB 200, VOC 20, ILSVRC 12)."),
        option("--image-size", group="Data", type=click.IntRange(8),
               help="Edge of the images of folders.  [default: 224; alexnet 227]"),
        option("--workers", "num_workers", group="Data", type=click.IntRange(0), default=8,
               help="Processes that read images."),
        option("--samples-per-class", group="Data", type=click.IntRange(1), metavar="M", help="Learn from M a class."),
        option("--date", group="Run", default="", help="A tag for the folder's name."),
        truth("--save-per-epoch", "Run", True, "Keep the weights of the epochs that the study looks at."),
        unused("--start-epoch", default=0),
        unused("--print-freq", default=print_every),
        seed_option(),
        folder_options("one under ./trained_model/"),
        students_options(),
        machine_options(),
    )  # fmt: skip


def network(model: str) -> str:
    """The name here of a network of the study: vgg16 is `vgg16_fc3`, as `vgg16` is the benchmark's small one."""
    plain = model.removesuffix("_fc3")
    if plain not in concepts.MODELS:
        raise unknown("--model", model, concepts.MODELS)
    return f"{plain}_fc3"


def recipe_of(settings: dict[str, Any]) -> Recipe:
    """The recipe with what the flags change; they are taken out of `settings`, and the data set's views come in.

    A field that the word of --recipe changes wins over a flag that was not typed.
    """
    word, base = settings.pop("recipe"), concepts.CONCEPTS
    recipe, logspace = get(word), settings.pop("logspace")
    flags = ("learning_rate", "decades", "batch_size", "epochs", "weight_decay", "momentum")
    changes = {name: settings.pop(name) for name in flags}
    changes["decades"] = changes["decades"] if logspace else 0.0
    said = {part.partition("=")[0].strip() for part in word.split(",")[1:]}
    typed = {name for name in flags if given(name)} | ({"decades"} if given("logspace") else set())
    changes = {name: value for name, value in changes.items() if name not in said or name in typed}
    if "views" not in said and recipe.views == base.views:
        changes["views"] = concepts.DATASETS.get(settings["dataset"], "usual")
    if "keep_epochs" not in said:
        changes["keep_epochs"] = concepts.epochs_to_keep(changes.get("epochs", recipe.epochs))
    return dataclasses.replace(recipe, **changes)


def suggest(model: str, what: str) -> None:
    """Say the learning rate that the authors suggest for a layer or a start, where none was typed and it is another."""
    found = concepts.suggested(model, what)
    if found and not given("learning_rate") and found[0] != click.get_current_context().params["learning_rate"]:
        click.echo(f"note: the authors suggest --lr {found[0]:g} --lr-down {found[1]:g} --logspace true for {what}")


def prepared(settings: dict[str, Any], model: str, folder: Path) -> dict[str, Any]:
    """What is left of `settings` for `cli.training.plan_of`, of a run in `folder` unless another was named."""
    for name in ("date", "start_epoch", "print_freq"):
        settings.pop(name)
    if not settings.pop("save_per_epoch") and settings["keep_epochs"] is None:
        settings["keep_epochs"] = ()
    folder = Path(settings.pop("output_dir") or folder)
    dataset, place = settings.pop("dataset"), settings.pop("data_dir")
    if dataset in concepts.DATASETS:
        settings |= {"dataset": "folder", "data_dir": place or f"./data/{dataset}/"}
    else:
        settings |= {"dataset": dataset, "data_dir": place or ("./data/folder/" if dataset == "folder" else "./data/")}
    size = settings.pop("image_size")
    if settings["dataset"] == "folder":
        size = size or (227 if model == "alexnet_fc3" else 224)
    weights = str(folder / WEIGHTS)
    return settings | {"max_epochs": None, "image_size": size, "output_dir": str(folder), "state_dict_path": weights}


def folder_of(*parts: str) -> Path:
    """`trained_model/CUB_vgg16_pretrain_106`; the originals' tags bring their own underscores, which is not needed."""
    return Path("trained_model") / "_".join(word for part in parts if (word := part.strip("_")))


def weights_in(path: str, flag: str) -> str:
    """The file of weights that a user means: itself, or the last one of a run's folder."""
    if not Path(path).is_dir():
        return path
    numbered = [file for file in Path(path).glob("*.pth.tar") if file.name.split(".")[0].isdecimal()]
    latest = sorted(numbered, key=lambda file: int(file.name.split(".")[0]))
    for file in (Path(path) / WEIGHTS, *reversed(latest)):
        if file.is_file():
            return str(file)
    raise UserError(f"{flag} {path} is a folder without {WEIGHTS} or <epoch>.pth.tar; name a file of weights.")


def checked(dataset: str) -> None:
    """Refuse a data set nobody knows before anything else is looked at."""
    from ignite_kd import data

    known = (*concepts.DATASETS, *data.names())
    if dataset not in known:
        raise unknown("data set", dataset, known)
