from __future__ import annotations

import json
import re

import pytest
import torch

from ignite_kd.data.randomness import shuffled
from ignite_kd.data.split import Split, SplitSpec, overlap, split
from ignite_kd.errors import UserError

LABELS = torch.arange(50_000) * 7 % 10  # as many of each class as CIFAR-10 has


def as_set(indices: torch.Tensor) -> set[int]:
    return set(indices.tolist())


def test_the_default_keeps_10000_images_a_thousand_of_each_class_for_validation():
    parts = split(LABELS, SplitSpec())
    assert torch.bincount(LABELS[parts.validation]).tolist() == [1000] * 10
    assert torch.bincount(LABELS[parts.train]).tolist() == [4000] * 10


@pytest.mark.parametrize("stratified", [True, False])
def test_the_two_parts_are_sorted_and_share_nothing_and_make_the_whole(stratified):
    parts = split(LABELS, SplitSpec(validation=777, stratified=stratified))
    assert parts.train.tolist() == sorted(as_set(parts.train))
    assert parts.validation.tolist() == sorted(as_set(parts.validation))
    assert len(parts.validation) == 777
    assert as_set(parts.train) | as_set(parts.validation) == set(range(50_000))


@pytest.mark.parametrize("stratified", [True, False])
def test_fewer_samples_are_a_part_of_more_and_validation_never_changes(stratified):
    parts = {m: split(LABELS, SplitSpec(samples_per_class=m, stratified=stratified)) for m in (100, 500, 1000, None)}
    assert torch.bincount(LABELS[parts[500].train]).tolist() == [500] * 10
    assert as_set(parts[100].train) < as_set(parts[500].train) < as_set(parts[1000].train) < as_set(parts[None].train)
    for other in parts.values():
        assert torch.equal(other.validation, parts[None].validation)


def test_the_plain_permutation_trains_on_its_first_part_and_validates_on_the_rest():
    parts = split(LABELS, SplitSpec(seed=3, stratified=False))
    order = shuffled(50_000, 3).tolist()
    assert parts.train.tolist() == sorted(order[:40_000])
    assert parts.validation.tolist() == sorted(order[40_000:])


def test_no_seed_means_a_fresh_split_that_its_record_rebuilds():
    first, second = (split(LABELS, SplitSpec(seed=None, stratified=False)) for _ in range(2))
    assert first.digest != second.digest
    assert first.spec.seed is not None
    assert split(LABELS, first.spec).digest == first.digest


def test_validation_0_keeps_every_image_for_training():
    parts = split(LABELS, SplitSpec(validation=0, samples_per_class=5000))
    assert len(parts.train) == 50_000 and len(parts.validation) == 0


def test_classes_of_different_size_give_their_share():
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 11)
    counts = torch.bincount(labels[split(labels, SplitSpec(validation=10)).validation]).tolist()
    assert counts == [7, 2, 1]


def test_a_split_survives_a_card():
    parts = split(LABELS, SplitSpec(samples_per_class=100, seed=5))
    again = Split.from_json(json.loads(json.dumps(parts.to_json())), LABELS)
    assert torch.equal(again.train, parts.train) and torch.equal(again.validation, parts.validation)
    assert again.spec == parts.spec and again.digest == parts.digest


def test_a_card_of_other_data_is_refused():
    card = split(LABELS, SplitSpec()).to_json()
    with pytest.raises(UserError, match="use the data it was made on"):
        Split.from_json(card, LABELS.flip(0) * 0)
    with pytest.raises(UserError, match="no 'seed'"):
        Split.from_json({"validation": 0, "samples_per_class": None}, LABELS)


def test_the_digest_tells_splits_apart():
    specs = [SplitSpec(), SplitSpec(seed=1), SplitSpec(samples_per_class=10), SplitSpec(validation=0)]
    digests = [split(LABELS, spec).digest for spec in specs]
    assert len(set(digests)) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in digests)


def test_overlap_counts_the_validation_images_that_the_teacher_was_trained_on():
    student, other = split(LABELS, SplitSpec()), split(LABELS, SplitSpec(seed=1))
    assert overlap(student, student) == 0
    assert overlap(student, other) == len(as_set(student.validation) & as_set(other.train)) > 7000


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (SplitSpec(samples_per_class=5000), r"more than the 4000 .*validation_images=0 in --recipe leaves 5000"),
        (SplitSpec(samples_per_class=6000, validation=0), r"more than the 5000 there are to train on\.$"),
        (SplitSpec(samples_per_class=0), "give 1 or more"),
        (SplitSpec(validation=50_000), "leave nothing to train on"),
        (SplitSpec(validation=-1), "give 0"),
    ],
)
def test_what_is_impossible_is_refused_in_one_line(spec, says):
    with pytest.raises(UserError, match=says) as error:
        split(LABELS, spec)
    assert "\n" not in str(error.value)
