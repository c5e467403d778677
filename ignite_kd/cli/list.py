"""What there is, by name."""

from __future__ import annotations

import click

__all__ = ["command"]

_NOTES = {
    "methods": "factor: of the method in the benchmark (recipe crd), beside cross-entropy; cost: its forward and"
    " backward beside the student's own step (`ignite-kd bench heads`, two CPU cores); couples batch: the loss of a"
    " batch is not the mean of its images'.",
    "models": "At 32×32 and 100 classes. Beside these: every wrn_<depth>_<width>, resnet<depth>, … that its scheme has"
    " room for, torchvision:NAME, and for large images alexnet_fc3, vgg16_fc3, resnet50_fc3, … of `train-net`.",
    "datasets": "",
    "recipes": "lr: in brackets that of MobileNetV2, ShuffleV1 and ShuffleV2. Fields may be changed: vid,decay=0.1.",
}


@click.command("list")
@click.argument("kind", type=click.Choice(list(_NOTES)))
def command(kind: str) -> None:
    """List the methods, models, data sets or recipes, with the numbers that one chooses by."""
    from ignite_kd import catalogue

    for line in catalogue.table(getattr(catalogue, kind)()):
        click.echo(line)
    if _NOTES[kind]:
        click.echo()
        for line in catalogue.table([[""], [_NOTES[kind]]])[1:]:
            click.echo(line)
