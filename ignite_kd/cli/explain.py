"""Say what runs learned: how many concepts, when, how stable."""

from __future__ import annotations

from typing import Any

import click

from ignite_kd.cli.options import (
    SEED,
    Epochs,
    GroupedCommand,
    check_option,
    command_line,
    device_option,
    option,
    time_limit_option,
)

__all__ = ["command"]

_RULES = {"null": "null-quantile", "otsu": "otsu", "physical": "physical"}


class _NumberOr(click.ParamType):
    """A positive number, or one of some words that stand for something."""

    name = "number"

    def __init__(self, words: dict[str, Any]) -> None:
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.words or value in self.words.values():
            return self.words.get(value, value)
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            self.fail(f"'{value}' is no positive number and none of {', '.join(self.words)}.", param, ctx)
        return number


@click.command("explain", cls=GroupedCommand)
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN…]")
@option(
    "--layer",
    group="What",
    default="pooled",
    metavar="NAME",
    help="A stage or a module that all networks have; pooled is what the classifier sees.",
)
@option("--epochs", group="What", type=Epochs(), metavar="0,5,…", help="Fewer checkpoints.  [default: all kept]")
@option("--images", group="Images", type=click.IntRange(1), default=50, metavar="N", help="So many that all keep.")
@option("--candidates", group="Images", type=click.IntRange(1), default=500, metavar="N", help="Among so many.")
@option("--part", group="Images", type=click.Choice(["train", "test"]), default="train", help="Of the data set.")
@option("--data-dir", group="Images", metavar="DIR", help="Where the data is.  [default: where the first run's was]")
@option(
    "--masks",
    group="Images",
    type=click.Choice(["auto", "none", "box", "any", "half", "interior", "top-left"]),
    default="auto",
    help="Which cells show the object: where any or half of the cell is, or all of it (interior: what is neither all "
    "object nor all ground is left out), or its corner as published; or the central box. auto: half where there are "
    "masks, else box.",
)
@option("--mask-dir", group="Images", metavar="DIR", help="Segmentations CLASS/FILE.png of a folder's images.")
@option("--mask-kind", group="Images", type=click.Choice(["cub", "voc"]), default="cub", help="How those were cut.")
@option(
    "--engine",
    group="Method",
    type=click.Choice(["sampled", "linear", "closed-form"]),
    default="sampled",
    help="sampled: as published. linear: from random probes, a hundred times cheaper; closed-form: that with the "
    "descent's end by a formula.",
)
@option("--probes", group="Method", type=click.IntRange(1), default=64, metavar="K", help="Of the linear engines.")
@check_option("Method")
@option("--grid", group="Method", type=click.IntRange(1), default=8, metavar="S", help="Cells along a side.")
@option(
    "--margin",
    group="Method",
    type=_NumberOr(_RULES),
    default=0.2,
    metavar="B",
    help="Nats by which a concept is discarded less than the ground; null, otsu or physical: by a rule, on the first "
    "run's last checkpoint.",
)
@option(
    "--entropy-weight",
    group="Method",
    type=_NumberOr({"published": "published"}),
    default=7.0,
    metavar="W",
    help="One for all networks; published: 6 for resnets, 7 for others.",
)
@option("--seed", group="Method", type=SEED, default=0, help="Of candidates and noise.")
@device_option("Machine")
@time_limit_option("Machine")
@option("--json", "as_json", group="Output", is_flag=True, help="For machines.")
@option("--output-dir", group="Output", metavar="DIR", help="Write explanation.json, table.md and the report there.")
def command(
    runs: tuple[str, ...],
    entropy_weight: Any,
    time_limit: float | None,
    as_json: bool,
    output_dir: str | None,
    **settings: Any,
) -> int:
    """Explain RUNs by what one of their layers discards of the images: concepts, learning speed, stability.

    A RUN is a run's folder, best one that was trained with --keep-epochs, or a file of weights. What was computed stays
    in RUN/concepts: stopped at any time the same command goes on, and another one with more RUNs computes theirs.
    """
    from ignite_kd.cli.knowledge import stoppable, tell, writable  # torch is imported here
    from ignite_kd.concepts.desk import Asked
    from ignite_kd.concepts.explain import explain

    folder = writable(output_dir)
    weight = None if entropy_weight == "published" else entropy_weight
    with stoppable(time_limit) as stopping:
        found = explain(
            runs,
            Asked(entropy_weight=weight, **settings),
            stopping=stopping,
            say=lambda line: click.echo(line, err=True),
            command=command_line(),
        )
        tell(found, folder, as_json)
    return stopping.status
