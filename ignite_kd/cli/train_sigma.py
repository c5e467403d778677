"""Compute what a layer of one training discards; the flags of the quantification study (seed 004)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import GroupedCommand, check_option, device_option, option, time_limit_option, truth, unused

__all__ = ["command", "folder_of"]

_LAYERS = ("conv", "fc1", "fc2", "fc3")
_FOLDERS = ("CUB", "VOC", "ILSVRC")


@click.command("train-sigma", cls=GroupedCommand)
@option("--checkpoint-root", group="Network", metavar="DIR", help="The folder of a run that kept its epochs.")
@option("--model", group="Network", default="alexnet", help="Names the folder; of the run where it is typed.")
@option(
    "--capacity-layer",
    group="Network",
    default="conv",
    metavar="LAYER",
    help="conv, fc1, fc2, fc3, any stage or module; all: those four.",
)
@option("--dataset", group="Data", default="VOC", help="Names the folder; of the run where it is typed.")
@option("--classes", group="Data", type=click.IntRange(1), help="Refuse a run with another number.  [default: any]")
@option("--data-dir", group="Data", metavar="DIR", help="Where the data is.  [default: where the run's was]")
@option(
    "--mask-dir",
    group="Data",
    metavar="DIR",
    help="Segmentations CLASS/FILE.png, of --dataset VOC cut as VOC's.  [default: the data's own masks, else the "
    "central box]",
)
@option("--pic-num", group="Data", type=click.IntRange(1), default=500, help="Candidates, of the training images.")
@option("--pic-seed", group="Data", type=click.IntRange(0), default=0, help="Of their choice.")
@option("--effect-num", group="Data", type=click.IntRange(1), default=50, help="Images that are kept, at most.")
@truth("--pick-sample", "Data", True, "Keep those on which the trained network keeps the object alone.")
@truth("--Top10", "Data", False, "Ask that of the tenth of the cells with the lowest entropy.")
@truth("--fore-expand", "Data", False, "Enlarge the object, see --sigma-upsample-size.")
@option("--sigma-size", group="Sigma", type=click.IntRange(1), default=16, help="Cells along a side.")
@option("--sigma-upsample-size", group="Sigma", type=click.IntRange(1), default=18, help="Of --fore-expand.")
@option("--lr", "learning_rate", group="Sigma", type=float, help="Of sigma.  [default: 1e-4 at 16 cells a side]")
@option("--batch-size", group="Sigma", type=click.IntRange(1), default=96, help="Noisy copies of an image a step.")
@option("--epoch", group="Sigma", type=click.IntRange(2), default=80, help="Steps, at most.")
@option(
    "--epoch-break",
    group="Sigma",
    type=click.IntRange(1),
    default=20,
    help="So many before the end it is looked whether the threshold was passed.",
)
@option("--sigma-init-decay", group="Sigma", type=float, default=0.01, help="The first sigma.")
@option("--threshold-entropy", group="Sigma", type=float, default=-2.8, help="The mean entropy that is wanted.")
@option("--lambda-init", group="Sigma", type=float, help="Weight of the entropy.  [default: resnets 6, others 7]")
@option("--sigma-iteration", group="Sigma", type=click.IntRange(1), default=1, help="Repeat with other noise.")
@option(
    "--engine",
    group="Sigma",
    type=click.Choice(["sampled", "linear", "closed-form"]),
    default="sampled",
    help="sampled: as published; linear: from random probes, a hundred times cheaper.",
)
@check_option("Sigma")
@option("--mode", group="Run", default="label_net", help="label_net, distil_net or teacher; names the folder.")
@option("--date", group="Run", default="0415", help="A tag for the folder's name.")
@option("--output-dir", group="Run", metavar="DIR", help="[default: sigma_result/DATASET_MODEL_MODE_LAYER_DATE]")
@device_option("Run")
@time_limit_option("Run")
@unused("--threshold-feature", type=float, default=1.5)
@unused("--lambda-change-ratio", type=float, default=0.5)
@unused("--checkpoint-step", type=int, default=3)
@unused("--image-size", type=int, default=224)
@unused("--workers", type=int, default=8)
@unused("--print-freq", type=int, default=5)
@unused("--seed", type=int, default=0)
@unused("--gpu", default="0")
def command(checkpoint_root: str | None, capacity_layer: str, output_dir: str | None, time_limit: float | None,
            **settings: Any) -> int:  # fmt: skip
    """Compute what one layer discards of some images, at every epoch that a training kept: sigma, as entropies.

    Stopped at any time the same command goes on. `find-knowledge` makes numbers of what it leaves.
    """
    from ignite_kd.errors import UserError

    if checkpoint_root is None:
        raise UserError("--checkpoint-root is missing: the folder of a run that was trained with --keep-epochs.")
    if settings["epoch_break"] >= settings["epoch"]:
        raise UserError(f"--epoch-break should be below --epoch, {settings['epoch']}; take 20 of 80.")
    from ignite_kd.cli.knowledge import stoppable  # torch is imported here

    layers = _LAYERS if capacity_layer == "all" else (capacity_layer,)
    named = settings["dataset"], settings["model"], settings["mode"]
    with stoppable(time_limit) as stopping:
        for layer in layers:
            folder = folder_of(*named, layer, settings["date"])
            if output_dir is not None:
                folder = Path(output_dir) / layer if len(layers) > 1 else Path(output_dir)
            _compute(checkpoint_root, layer, folder, stopping, settings)
    return stopping.status


def folder_of(dataset: str, model: str, mode: str, layer: str, date: str) -> Path:
    """`sigma_result/VOC_alexnet_label_net_conv_0415`."""
    return Path("sigma_result") / "_".join(word for word in (dataset, model, mode, layer, date.strip("_")) if word)


def _compute(root: str, layer: str, folder: Path, stopping: Any, settings: dict[str, Any]) -> None:
    from ignite_kd.cli.options import given
    from ignite_kd.concepts.constants import Constants
    from ignite_kd.concepts.desk import Asked
    from ignite_kd.concepts.selection import KEPT
    from ignite_kd.concepts.sigma import train_sigma
    from ignite_kd.errors import UserError

    def constants(network: str) -> Constants:
        return Constants.of(
            network,
            settings["lambda_init"],
            grid=settings["sigma_size"],
            samples=settings["batch_size"],
            first_sigma=settings["sigma_init_decay"],
            learning_rate=settings["learning_rate"],
            steps=settings["epoch"],
            check_after=settings["epoch"] - settings["epoch_break"],
            threshold=settings["threshold_entropy"] if given("threshold_entropy") else None,
        )

    if settings["mask_dir"] and not given("dataset"):
        raise UserError("--mask-dir needs --dataset: masks of VOC are read otherwise than those of CUB or any others.")
    asked = Asked(
        layer=layer,
        images=settings["effect_num"],
        candidates=settings["pic_num"],
        engine=settings["engine"],
        check=settings["check"],
        masks="published",
        mask_dir=settings["mask_dir"],
        mask_kind="voc" if settings["dataset"] == "VOC" else "cub",
        seed=settings["pic_seed"],
        data_dir=settings["data_dir"],
        device=settings["device"],
    )
    model, dataset = settings["model"], settings["dataset"]
    expected: dict[str, tuple[Any, ...]] = {}
    if given("model"):
        expected["model"] = (model, f"{model}_fc3")
    if given("dataset"):
        expected["dataset"] = (dataset, *(("folder",) if dataset in _FOLDERS else ()))
    if settings["classes"]:
        expected["classes"] = (settings["classes"],)
    counted = train_sigma(
        root,
        folder,
        asked,
        constants,
        expanded=settings["sigma_upsample_size"] if settings["fore_expand"] else None,
        pick=settings["pick_sample"],
        lowest=0.1 if settings["top10"] else None,
        iterations=settings["sigma_iteration"],
        expected=expected,
        stopping=stopping,
        say=lambda line: click.echo(line, err=True),
    )
    click.echo(f"{folder}: {', '.join(f'{number} {reason}' for reason, number in counted.items())}")
    if counted.get(KEPT, 0) < asked.images:
        click.echo(f"note: {counted.get(KEPT, 0)} images instead of {asked.images} were kept", err=True)
