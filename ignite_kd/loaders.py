"""From a plan to loaders: which images are learned from, which choose, which judge."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ignite_kd import data
from ignite_kd.data.augmentation import Augmentation
from ignite_kd.data.folder import folder_loaders
from ignite_kd.data.split import Split, SplitSpec, split
from ignite_kd.data.stream import Stream
from ignite_kd.distributed import agree
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan

__all__ = ["Loaders", "normalisation", "prepare"]

_PUBLISHED_VALIDATION = 10_000
_NORMALISATIONS = {"zoo": ((0.4814, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))}


@dataclass
class Loaders:
    """Batches for training, validation and test, and what they are.

    Validation is None where all images are learned from, test where a folder has no such tree: what chose the best
    epoch cannot judge it.
    """

    train: Any
    validation: Iterable[Any] | None
    test: Iterable[Any] | None
    classes: tuple[str, ...]
    image_size: int
    digest: str
    split: Split | None
    labels: Tensor | None  # of all training images, so that a teacher's split can be rebuilt
    train_labels: Tensor  # of the images that are learned from, in the order of `Batch.indices`

    def describe(self) -> dict[str, Any]:
        """What a run's record and a card say about the data."""
        parts = {"digest": self.digest, "classes": len(self.classes)}
        return parts | ({"split": self.split.to_json()} if self.split else {})


def normalisation(dataset: str, word: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation: the data set's, or those that a recipe's `normalisation` is a word for."""
    own = data.normalisation(dataset)
    return own if dataset == "folder" else _NORMALISATIONS.get(word, own)  # its loaders know no other


def _refuse_what_has_no_effect(plan: Plan, edge: int) -> None:
    """Images in memory have their size, and are cut as the released codes cut them, or not at all."""
    if plan.recipe.views not in ("usual", "squash"):
        raise UserError(
            f"views={plan.recipe.views} is for a folder of images, not for {plan.dataset}; take usual or squash."
        )
    if plan.image_size not in (None, edge):
        raise UserError(
            f"--image-size {plan.image_size} is for a folder of images; those of {plan.dataset} have {edge} pixels."
        )


def prepare(plan: Plan, device: torch.device, split_seed: int | None, rank: int = 0, world_size: int = 1) -> Loaders:
    """The loaders of a plan; `split_seed` repeats the fresh split of the run that is resumed."""
    share: dict[str, Any] = {"rank": rank, "world_size": world_size}
    recipe = plan.recipe
    if plan.dataset == "folder":
        found = folder_loaders(
            plan.data_dir,
            recipe.batch_size,
            evaluation_batch_size=recipe.evaluation_batch_size,
            image_size=plan.image_size or 32,
            seed=plan.order,
            num_workers=plan.num_workers,
            samples_per_class=plan.samples_per_class,
            views=recipe.views,
            device=device,
            **share,
        )
        size = plan.image_size or 32
        trees = (found.train, found.validation, found.test)
        return Loaders(*trees, found.classes, size, found.digest, None, None, found.train_labels)

    dataset = data.load(plan.dataset, plan.data_dir)
    _refuse_what_has_no_effect(plan, dataset.train.images.shape[-1])
    validation = recipe.validation_images
    if validation == _PUBLISHED_VALIDATION:  # the released code's, of 50 000: a fifth, of smaller sets too
        validation = min(validation, len(dataset.train) // 5)
    if recipe.fresh_split and split_seed is None:  # drawn once, however many processes there are
        split_seed = int(agree(secrets.randbits(32) if rank == 0 else 0)[0])
    spec = SplitSpec(validation, plan.samples_per_class, seed=split_seed or 0, stratified=not recipe.fresh_split)
    parts = split(dataset.train.labels, spec)
    mean, std = normalisation(plan.dataset, recipe.normalisation)
    common: dict[str, Any] = {"mean": mean, "std": std, "device": device, **share}
    common["memory_format"] = torch.channels_last  # as the networks of a session are
    quiet: dict[str, Any] = {"shuffle": False, "augmentation": None, **common}
    return Loaders(
        Stream(
            dataset.train,
            recipe.batch_size,
            indices=parts.train,
            seed=plan.order,
            shuffle=True,
            augmentation=None if recipe.views == "squash" else Augmentation(mode=recipe.padding),
            **common,
        ),
        Stream(dataset.train, recipe.evaluation_batch_size, indices=parts.validation, **quiet) if validation else None,
        Stream(dataset.test, recipe.evaluation_batch_size, **quiet),
        dataset.classes,
        dataset.train.images.shape[-1],
        dataset.digest(),
        parts,
        dataset.train.labels,
        dataset.train.labels[parts.train],
    )
