import math

import pytest
import torch

from ignite_kd.concepts.selection import KEPT, common, gap, judge, reasons
from ignite_kd.concepts.trajectory import EntropyMaps, Status

LEFT = torch.tensor([[[True, False], [True, False]]])


def found(*maps, status=None):
    entropies = torch.tensor(maps).view(len(maps), 2, 2)
    rest = torch.zeros(len(maps))
    return EntropyMaps(
        entropies, rest, rest[:, None], rest[:, None], torch.tensor(status or [0] * len(maps), dtype=torch.int8)
    )


PREFERS = [-3.0, -2.0, -3.0, -2.0]  # keeps the left side, which is the object
WRONG = [-2.0, -3.0, -2.0, -3.0]


def test_the_gap_by_hand():
    maps = found(PREFERS, WRONG, [-3.0, -2.0, -2.0, -1.0]).entropies
    object_ = LEFT.expand(3, 2, 2)
    assert gap(maps, object_, ~object_).tolist() == [1.0, -1.0, 1.0]
    assert gap(maps, object_, ~object_, lowest=0.1).tolist() == [1.0, -1.0, 1.0]
    assert gap(found([-3.0, -2.0, -2.0, -1.5]).entropies, LEFT, ~LEFT, lowest=0.5).tolist() == [1.0]
    assert math.isnan(gap(maps[:1], torch.zeros_like(LEFT), ~LEFT).item())


def test_each_image_has_its_fate():
    maps = found(PREFERS, WRONG, [math.nan] * 4, PREFERS, PREFERS, status=[0, 0, Status.SILENT, 0, Status.NEVER])
    object_ = LEFT.expand(5, 2, 2).clone()
    object_[3] = False
    late = judge(maps, object_, ~object_, epoch=40)
    assert late == [
        KEPT, "the object is discarded more than the ground", "the feature does not move",
        "object or ground without enough cells", KEPT,
    ]  # fmt: skip
    assert judge(maps, object_, ~object_, epoch=39)[1] == KEPT
    assert judge(maps, object_, ~object_, epoch=39, from_epoch=30)[1] != KEPT
    assert judge(maps, object_, ~object_, epoch=0, fewest_cells=3)[0] == "object or ground without enough cells"
    assert reasons(dict(enumerate(late)))[KEPT] == 2


@pytest.mark.parametrize(
    ("kept", "both"), [([["c", "a", "b"], ["b", "c"]], ["c", "b"]), ([["a"], ["b"]], []), ([["a"]], ["a"])]
)
def test_common_images_keep_their_order(kept, both):
    assert common(*kept) == both
