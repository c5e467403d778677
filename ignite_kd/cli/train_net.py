"""Train a network of the quantification study on labels: a teacher, or the baseline of a student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.nets import checked, folder_of, net_options, network, prepared, recipe_of, suggest
from ignite_kd.cli.options import command_line, option
from ignite_kd.cli.training import TrainingCommand, plan_of
from ignite_kd.errors import UserError, unknown

__all__ = ["command"]

_MODES = ("pretrain", "without_pretrain")


@click.command("train-net", cls=TrainingCommand)
@option("--model", group="Network", default="vgg16", help="alexnet, vgg11, vgg16, vgg19, resnet18, 50, 101 or 152.")
@option(
    "--mode",
    group="Network",
    default="",
    show_default=False,
    help="pretrain: start from ImageNet's weights, but for the linear layers; without_pretrain: from nothing."
    "  [default: pretrain]",
)
@option(
    "--pretrained",
    group="Network",
    metavar="FILE",
    help="Those weights, torchvision's.  [default: where torchvision keeps what it downloaded]",
)
@net_options("VOC", rate=1e-3, decades=1.0, logspace=True, print_every=30)
def command(model: str, mode: str, pretrained: str | None, **shared: Any) -> Any:
    """Train a teacher, or the baseline that a student is compared with, on labels alone."""
    name = network(model)
    word = mode.strip("_") or "pretrain"
    if word not in _MODES:
        raise unknown("--mode", mode, _MODES)
    if word == "without_pretrain" and pretrained:
        raise UserError("--pretrained goes with --mode pretrain; leave one of the two out.")
    checked(shared["dataset"])
    from ignite_kd.terms import Term

    suggest(name, word)
    recipe = recipe_of(shared)
    folder = folder_of(shared["dataset"], name.removesuffix("_fc3"), mode, shared["date"])
    return plan_of(
        prepared(shared, name, folder) | {"recipe": recipe},
        student=name,
        trunk_path=(pretrained or _downloaded(name.removesuffix("_fc3"))) if word == "pretrain" else None,
        terms=(Term("ce"),),
        command=command_line(),
    )


def _downloaded(name: str) -> str:
    """Where torchvision keeps ImageNet's weights of this network; an error where it has none yet."""
    import torch
    from torchvision.models import get_model_weights

    url = get_model_weights(name)["IMAGENET1K_V1"].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        raise UserError(
            f"--mode pretrain starts from torchvision's weights of {name}, which are not in {path}; fetch {url} and "
            "name the file with --pretrained, or start from nothing with --mode without_pretrain."
        )
    return str(path)
