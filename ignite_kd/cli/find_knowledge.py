"""Compare what train-sigma left of networks: the three metrics; the switches of the quantification study (seed 004)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from ignite_kd.cli.options import GroupedCommand, command_line, option, truth
from ignite_kd.errors import UserError

__all__ = ["command"]

_NETWORKS = ("label_net", "distil_net", "teacher")  # the first one is what differences are counted from


@click.command("find-knowledge", cls=GroupedCommand)
@option(
    "--label-sigma-root",
    group="Networks",
    metavar="DIR",
    help="What train-sigma left of the baseline.  [default: by the names below]",
)
@option("--distil-sigma-root", group="Networks", metavar="DIR", help="Of the student.  [default: by the names below]")
@option("--teacher-sigma-root", group="Networks", metavar="DIR", help="Of the teacher.  [default: none]")
@option(
    "--label-checkpoint-path",
    group="Networks",
    metavar="DIR",
    help="The baseline's run, for the distance of its weights.  [default: where it was]",
)
@option("--distil-checkpoint-path", group="Networks", metavar="DIR", help="The student's.  [default: where it was]")
@option("--teacher-checkpoint-path", group="Networks", metavar="DIR", help="The teacher's.  [default: where it was]")
@option("--dataset", group="Names", default="ILSVRC", help="In the folders' names.")
@option("--model-name", group="Names", default="vgg16", help="In the folders' names.")
@option("--layer", group="Names", default="conv", help="In the folders' names.")
@option("--date", group="Names", default="0415", help="In the folders' names.")
@option(
    "--threshold",
    "margin",
    group="Numbers",
    type=click.FloatRange(0, min_open=True),
    default=0.2,
    help="Nats by which a concept is discarded less than the ground.",
)
@option(
    "--knowledge-point",
    group="Numbers",
    type=click.Choice(["fore", "back", "both"]),
    default="both",
    help="Whose concepts are written.",
)
@truth("--find-same-sample", "Numbers", True, "Look at the images that all networks kept; false: at each one's own.")
@truth("--find-total-background", "Numbers", True, "Write the ground's entropies.")
@truth("--find-threshold", "Numbers", False, "Write how far the object lies below the ground: a guide to --threshold.")
@truth("--find-peak", "Numbers", True, "Write how many concepts there are; the original leaves it out.")
@truth("--find-convergence", "Numbers", True, "Write how fast they were learned.")
@truth("--find-percent", "Numbers", True, "Write how stable they are; the original leaves it out.")
@option("--output-dir", group="Output", default="knowledge_txt", metavar="DIR", help="Where the results go.")
def command(dataset: str, model_name: str, layer: str, date: str, margin: float, knowledge_point: str,
            find_same_sample: bool, output_dir: str, **settings: Any) -> int:  # fmt: skip
    """Compare a baseline, its distilled twin and a teacher: concepts, learning speed, stability.

    Writes DATASET_MODEL_LAYER_DATE_results.txt in the order of the original, and table.md, explanation.json.
    """
    from ignite_kd.cli.knowledge import tell, writable  # torch is imported here
    from ignite_kd.cli.train_sigma import folder_of
    from ignite_kd.concepts.conclusion import conclude, explained
    from ignite_kd.concepts.results_text import results_text
    from ignite_kd.concepts.selection import common
    from ignite_kd.concepts.sigma import read_sigma
    from ignite_kd.files import atomic_write

    if not math.isfinite(margin):
        raise UserError(f"--threshold {margin} is no number of nats; 0.2 is the published one.")
    folder = writable(output_dir)
    found = {}
    for name in _NETWORKS:
        flag = f"{name.split('_')[0]}_sigma_root"
        root = settings[flag] or folder_of(dataset, model_name, name, layer, date)
        if settings[flag] or name != "teacher":
            found[name] = read_sigma(root, f"--{flag.replace('_', '-')}")
    _refuse_others({name: sigma.store.made for name, sigma in found.items()})
    roots = {name: settings[f"{name.split('_')[0]}_checkpoint_path"] for name in found}
    both = common(*(sigma.kept for sigma in found.values()))
    if find_same_sample and not both:
        raise UserError("there is no image that all networks kept; add --find-same-sample false, or more candidates.")
    _refuse_other_masks(found, both)
    wanted = {"level": "total_background", "threshold": "threshold", "peak": "peak", "convergence": "convergence"}
    parts = [part for part, switch in (wanted | {"percent": "percent"}).items() if settings[f"find_{switch}"]]
    text = ""
    for name in ("distil_net", "label_net", "teacher"):  # the original's order
        if name in found:
            names = both if find_same_sample else found[name].kept
            masks = found[name].masks(names)
            one = explained(found[name].measured(name, names, roots[name]), masks, margin)
            theta = found[name].threshold
            engine = found[name].store.made["engine"]
            text += results_text(one, masks[0] if masks else None, margin, theta, parts, knowledge_point, engine) + "\n"
    file = Path(output_dir) / "_".join((dataset, model_name, layer, date.strip("_"), "results.txt"))
    atomic_write(file, text)
    click.echo(text)
    if find_same_sample:
        first = next(iter(found.values()))
        made = first.store.made
        settings_of_maps = {"made": made, "masks": first.notes["masks"], "command": command_line()}
        tell(
            conclude(
                [sigma.measured(name, both, roots[name]) for name, sigma in found.items()],
                first.masks(both),
                margin,
                pictures=first.pictures(both),
                names=both,
                margin_rule="published" if margin == 0.2 else "given",
                engine=made["engine"],
                deviation=first.notes["deviation"],
                settings=settings_of_maps | {"data": {"dataset": dataset}},
            ),
            folder,
        )
    return 0


def _refuse_others(made: dict[str, dict[str, Any]]) -> None:
    """Maps that were not made alike cannot be compared."""
    from ignite_kd.run_folder import differences

    name, first = next(iter(made.items()))
    for other, told in made.items():
        apart = differences(
            {k: v for k, v in first.items() if k != "network"}, {k: v for k, v in told.items() if k != "network"}
        )
        if apart:
            raise UserError(f"the maps of {name} and {other} were made otherwise: {'; '.join(apart)}; make them alike.")


def _refuse_other_masks(found: dict[str, Any], names: list[str]) -> None:
    """Concepts on the object are counted where each network's masks have it: they must have it in the same place."""
    import torch

    first, *others = found
    wanted = found[first].masks(names)
    for other in others:
        masks = found[other].masks(names)
        same = masks is wanted is None or (masks and wanted and all(map(torch.equal, masks, wanted)))
        if not same or found[other].notes["masks"] != found[first].notes["masks"]:
            told = " and ".join(f"{name}'s {found[name].notes['masks'] or 'none'}" for name in (first, other))
            raise UserError(
                f"the masks differ ({told}); run train-sigma again with the same --mask-dir, --fore-expand."
            )
