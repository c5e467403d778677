"""Train a student of the quantification study: imitate a layer of the teacher, then learn to classify."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.nets import (
    WEIGHTS,
    checked,
    folder_of,
    net_options,
    network,
    prepared,
    recipe_of,
    suggest,
    weights_in,
)
from ignite_kd.cli.options import command_line, option, truth, unused
from ignite_kd.cli.training import TrainingCommand, TwoTrainings, plan_of
from ignite_kd.errors import UserError, unknown
from ignite_kd.recipes import concepts

__all__ = ["command"]


@click.command("distillation", cls=TrainingCommand)
@option("--teacher-checkpoint", group="Networks", metavar="FILE", help="The teacher's weights, or its run's folder.")
@option(
    "--model",
    group="Networks",
    default="vgg16",
    help="Of both: alexnet, vgg11, vgg16, vgg19, resnet18, 50, 101 or 152.",
)
@option("--mode", group="Imitation", default="fc1", help="The layer to imitate: conv, fc1, fc2 or fc3.")
@truth("--normalization", "Imitation", False, "Multiply the teacher's values by --alpha.")
@option("--alpha", group="Imitation", type=float, default=1.0, help="See --normalization.")
@truth("--distilation-train", "Phases", True, "Imitate the layer.")
@truth("--classifier-train", "Phases", True, "Then freeze it and learn from labels what lies above; not with fc3.")
@option("--classify-epochs", group="Phases", type=click.IntRange(1), default=100, help="Epochs of the second phase.")
@net_options("CUB", rate=1.0, decades=1.0, logspace=False, print_every=20)
@unused("--gpu", default=0)
@unused("--save-best-acc", default="false")
def command(
    teacher_checkpoint: str | None, model: str, mode: str, normalization: bool, alpha: float, distilation_train: bool,
    classifier_train: bool, classify_epochs: int, **shared: Any,
) -> Any:  # fmt: skip
    """Train a student to give out what one layer of the teacher gives out; then train what lies above that layer."""
    name, layer = network(model), mode.strip("_")
    if layer not in concepts.LAYERS:
        raise unknown("--mode", mode, concepts.LAYERS)
    if not (distilation_train or classifier_train):
        raise UserError("--distilation-train and --classifier-train are both false: nothing would be learned.")
    if layer == "fc3" and not distilation_train:
        raise UserError("nothing lies above fc3, so there is no second phase; leave out --distilation-train false.")
    if distilation_train and teacher_checkpoint is None:
        raise UserError("--teacher-checkpoint is missing: the file of the teacher's weights (`train-net` makes one).")
    checked(shared["dataset"])
    from ignite_kd.plan import Plan
    from ignite_kd.terms import Term

    suggest(name, layer)
    for name_of_unused in ("gpu", "save_best_acc"):
        shared.pop(name_of_unused)
    recipe = recipe_of(shared)
    folder = folder_of(shared["dataset"], name.removesuffix("_fc3"), "distil", layer, shared["date"])
    options = {"stages": layer} | ({"alpha": alpha} if normalization else {})
    first: Plan = plan_of(
        prepared(shared, name, folder) | {"recipe": concepts.imitation(recipe, layer)},
        student=name,
        teacher=name,
        teacher_path=weights_in(str(teacher_checkpoint), "--teacher-checkpoint"),
        terms=(Term("imitation", 1.0, options),),
        command=command_line(),
    )

    def second(imitated: Plan) -> Plan:
        own = Path(str(imitated.output_dir)) / "classifier"
        return dataclasses.replace(
            imitated,
            recipe=concepts.classifier(recipe, name),
            max_epochs=classify_epochs,
            student_path=imitated.state_dict_path,
            frozen=layer,
            teacher=None,
            teacher_path=None,
            terms=(Term("ce"),),
            output_dir=str(own),
            state_dict_path=str(own / WEIGHTS),
        )

    if not distilation_train:
        return second(first)
    return TwoTrainings(first, second) if classifier_train and layer != "fc3" else first
