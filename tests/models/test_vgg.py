import math

import pytest
import torch
import torch.nn.functional as F
from oracles import fill, h

from ignite_kd.errors import UserError
from ignite_kd.models import VGG


@pytest.mark.parametrize(("size", "last"), [(32, 4), (64, 4), (40, 5)])
@torch.no_grad()
def test_each_stage_is_a_rectified_block_before_the_next_pooling(size, last):
    model = fill(VGG(11, 5), 7).eval()
    seen = model.represent(h((2, 3, size, size), 5))
    maps = h((2, 3, size, size), 5)
    for block, stage in enumerate(seen.features):
        # the paper's five blocks with a pooling between each; the benchmark leaves the last out for small images
        if block in (1, 2, 3) or (block == 4 and size == 64):
            maps = F.max_pool2d(maps, 2)
        before = model.get_submodule(f"block{block}")(maps)
        maps = before.clamp(min=0)
        torch.testing.assert_close(seen.features[stage], maps)
        if block:
            torch.testing.assert_close(seen.before_relu[stage], before)
            assert (before < 0).any()
    assert seen.features["layer4"].shape == (2, 512, last, last)
    torch.testing.assert_close(seen.pooled, maps.mean((2, 3)))


def test_weights_begin_as_in_the_benchmark():
    torch.manual_seed(0)
    model = VGG(13, 100)
    for conv in (model.get_submodule("block0.3"), model.get_submodule("block3.0")):
        spread = math.sqrt(2 / (9 * conv.out_channels))
        assert conv.weight.std().item() == pytest.approx(spread, rel=5 / math.sqrt(2 * conv.weight.numel()))
        assert not conv.bias.any()
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=5 / math.sqrt(2 * 51200))
    assert not model.classifier.bias.any()


@pytest.mark.parametrize(("depth", "nearest"), [(12, "vgg11"), (20, "vgg19"), (0, "vgg8")])
def test_a_depth_that_does_not_exist_is_refused(depth, nearest):
    with pytest.raises(UserError, match=f"depth 8, 11, 13, 16 or 19, not {depth}; take {nearest}"):
        VGG(depth)
