"""The images that networks are asked about: some of a data set, always the same, as people and as networks see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ignite_kd import data
from ignite_kd.comparison.runs import Run
from ignite_kd.concepts.masks import central_box, mask_files, masks_on_grid, read_segmentation
from ignite_kd.data.folder import folder_to_evaluate
from ignite_kd.data.randomness import shuffled
from ignite_kd.errors import UserError, unknown
from ignite_kd.loaders import normalisation

__all__ = ["MASKS", "Candidates", "candidates_of"]

MASKS = ("auto", "published", "none", "box", "any", "half", "interior", "top-left")


@dataclass(frozen=True)
class Candidates:
    """Images by name, `train-17` or `train/CLASS/FILE`.

    Args:
        pictures: names → N × 3 × H × W, uint8.
        masks: candidates × H × W, True on the object; None where nobody knows them.
    """

    names: list[str]
    dataset: str
    digest: str
    classes: int
    image_size: int
    pictures: Callable[[Sequence[str]], Tensor]
    masks: Tensor | None

    def normalised(self, names: Sequence[str], word: str) -> Tensor:
        """As networks want them that learned with this word for their normalisation."""
        return data.normalise(self.pictures(names), *normalisation(self.dataset, word))

    def on_grid(self, rule: str, grid: int, expanded: int | None = None) -> tuple[tuple[Tensor, Tensor] | None, str]:
        """((foreground, background), how they came about in words); None of the rule `none`."""
        if rule not in MASKS:
            raise unknown("rule of masks", rule, MASKS)
        if rule in ("auto", "published"):
            rule = "box" if self.masks is None else "half" if rule == "auto" else "top-left"
        if expanded is not None and rule != "top-left":
            raise UserError(f"{self.dataset} has no masks that could be expanded; leave --fore-expand out.")
        if rule == "none":
            return None, "no masks: object and ground are not told apart"
        if rule == "box":
            if grid < 6:
                raise UserError(f"a grid of {grid} has no ground around the central box; take 6 or more.")
            return central_box(len(self.names), grid), "the central box is the object"
        if self.masks is None:
            raise UserError(
                f"{self.dataset} has no masks; take --masks box (the middle is the object) or none, or name a folder "
                "of segmentations with --mask-dir."
            )
        words = {
            "any": "object where any of a cell is",
            "half": "object where half of a cell is",
            "interior": "object where all of a cell is, ground where none of it is",
            "top-left": "object where a cell's top left pixel is",
        }
        return masks_on_grid(self.masks, grid, rule, expanded), words[rule]


def candidates_of(
    run: Run,
    part: str,
    count: int,
    seed: int,
    data_dir: str | None = None,
    mask_dir: str | None = None,
    mask_kind: str = "cub",
) -> Candidates:
    """`count` images of the data that the run learned, or all where there are fewer, chosen by the seed alone.

    Args:
        part: `train`, all of the training set, whoever learned from which of it; or `test`.
        mask_dir: of a folder's images: segmentations CLASS/FILE.png.
        mask_kind: how those were made, see `masks.read_segmentation`.
    """
    if run.dataset is None:
        raise UserError(f"neither record nor card of {run.path} says which data set it learned; name its run first.")
    where = data_dir or run.data_dir or "./data/"
    if run.dataset == "folder":
        return _of_folder(run, part, count, seed, where, mask_dir, mask_kind)
    if mask_dir is not None:
        raise UserError(f"--mask-dir is for folders of images, but {run.path} learned {run.dataset}; leave it out.")
    dataset = data.load(run.dataset, where)
    source = dataset.train if part == "train" else dataset.test
    chosen = shuffled(len(source), seed)[:count]
    names = [f"{part}-{i}" for i in chosen.tolist()]
    number = {name: int(i) for name, i in zip(names, chosen, strict=True)}

    def pictures(wanted: Sequence[str]) -> Tensor:
        return source.images[[number[name] for name in wanted]]

    masks = None if source.masks is None else source.masks[chosen]
    edge = source.images.shape[-1]
    return Candidates(names, run.dataset, dataset.digest(), dataset.num_classes, edge, pictures, masks)


def _of_folder(
    run: Run, part: str, count: int, seed: int, data_dir: str, mask_dir: str | None, mask_kind: str
) -> Candidates:
    tree = "train" if part == "train" else "test" if (Path(data_dir) / "test").is_dir() else "val"
    size = run.image_size or 32

    files, classes, digest = folder_to_evaluate(
        data_dir, tree, 1, image_size=size, num_workers=0, views=run.views, mean=(0.0,) * 3, std=(1.0,) * 3,
        choose=lambda n: shuffled(n, seed)[:count],
    )  # fmt: skip
    top = Path(data_dir) / tree
    names = [f"{tree}/{Path(path).relative_to(top).as_posix()}" for path, _ in files.samples]
    place = {name: i for i, name in enumerate(names)}

    def pictures(wanted: Sequence[str]) -> Tensor:
        return (255 * files.images([place[name] for name in wanted])).round().to(torch.uint8)

    masks = None
    if mask_dir is not None:
        segmentations = mask_files(mask_dir, [name.removeprefix(f"{tree}/") for name in names])
        masks = torch.stack([read_segmentation(path, size, mask_kind, run.views) for path in segmentations]) > 0
    return Candidates(names, "folder", digest, len(classes), size, pictures, masks)
