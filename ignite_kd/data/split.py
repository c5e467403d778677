"""Which training images a model learns from and which it is validated on: decided by hashes, recorded with weights."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ignite_kd.data.randomness import shuffled
from ignite_kd.errors import UserError

__all__ = ["Split", "SplitSpec", "overlap", "split"]


@dataclass(frozen=True)
class SplitSpec:
    """What is asked for; together with the labels it decides every index.

    Args:
        validation: number of validation images in all; 0 keeps every image for training.
        samples_per_class: learn from so many images of each class; None takes all. Fewer are a part of more, and the
            validation images stay the same.
        seed: None draws a fresh one, as the released VID code does; the split that comes back records it.
        stratified: every class gives its share of the validation part. False is the released code's plain permutation:
            its first part trains, the rest validates.
    """

    validation: int = 10_000
    samples_per_class: int | None = None
    seed: int | None = 0
    stratified: bool = True


@dataclass(frozen=True, eq=False)
class Split:
    """The indices to train on and to validate on, each sorted; `spec` has its seed filled in and rebuilds them."""

    train: Tensor
    validation: Tensor
    spec: SplitSpec
    digest: str

    def to_json(self) -> dict[str, Any]:
        """What a card beside the weights keeps of this split."""
        return {**asdict(self.spec), "digest": self.digest}

    @classmethod
    def from_json(cls, card: Mapping[str, Any], labels: Tensor) -> Split:
        """The split that a card tells of, rebuilt from the labels of the same data set."""
        rebuilt = cls.rebuild(card, labels)
        if rebuilt.digest != card.get("digest"):
            digest = card.get("digest", "without a digest")
            raise UserError(f"the card's split {digest} is {rebuilt.digest} on this data; use the data it was made on.")
        return rebuilt

    @classmethod
    def rebuild(cls, card: Mapping[str, Any], labels: Tensor) -> Split:
        """What the card's numbers give on these labels, whichever digest stands beside them."""
        try:
            spec = SplitSpec(**{field.name: card[field.name] for field in fields(SplitSpec)})
        except KeyError as missing:
            raise UserError(f"the card's split has no {missing}; was it written by ignite_kd?") from None
        try:
            return split(labels, spec)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"the card's split cannot be rebuilt: {error}") from None


def split(labels: Tensor, spec: SplitSpec) -> Split:
    """Divide the images that have these labels."""
    n = len(labels)
    if spec.validation < 0:
        raise UserError(f"{spec.validation} validation images were asked for; give 0 (none) or more.")
    if spec.validation >= n:
        raise UserError(f"{spec.validation} validation images leave nothing to train on: there are {n}; give fewer.")
    if spec.seed is None:
        spec = replace(spec, seed=secrets.randbits(32))
    order = shuffled(n, spec.seed or 0)
    by_class = [order[labels[order] == label] for label in labels.unique()]
    if spec.stratified:
        shares = _shares([len(members) for members in by_class], spec.validation)
        validation = torch.cat([members[:share] for members, share in zip(by_class, shares, strict=True)])
        by_class = [members[share:] for members, share in zip(by_class, shares, strict=True)]
    else:
        pool, validation = order[: n - spec.validation], order[n - spec.validation :]
        by_class = [pool[labels[pool] == label] for label in labels.unique()]
    if spec.samples_per_class is not None:
        _check(spec, most=min(map(len, by_class)), in_all=int(labels.unique(return_counts=True)[1].min()))
    train = torch.cat([members[: spec.samples_per_class] for members in by_class]).sort().values
    validation = validation.sort().values
    return Split(train, validation, spec, _digest(train, validation))


def overlap(student: Split, teacher: Split) -> int:
    """How many of the student's validation images the teacher was trained on; anything but 0 flatters the student."""
    return int(torch.isin(student.validation, teacher.train).sum())


def _shares(counts: list[int], total: int) -> list[int]:
    """`total` divided in proportion to the counts; what rounding leaves goes to the largest remainders."""
    shares = [total * count // sum(counts) for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda i: -(total * counts[i] % sum(counts)))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _check(spec: SplitSpec, most: int, in_all: int) -> None:
    asked = spec.samples_per_class or 0
    if asked < 1:
        raise UserError(f"{asked} images of each class were asked for; give 1 or more, or leave it out to take all.")
    if asked > most:
        advice = f"; validation_images=0 in --recipe leaves {in_all}" if in_all > most else ""
        raise UserError(f"{asked} images of each class are more than the {most} there are to train on{advice}.")


def _digest(train: Tensor, validation: Tensor) -> str:
    sha = hashlib.sha256()
    for indices in (train, validation):
        sha.update(len(indices).to_bytes(8, "little"))
        sha.update(indices.cpu().numpy().astype("<i8").data)
    return sha.hexdigest()[:16]
