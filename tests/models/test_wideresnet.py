import pytest
import torch
from torch import nn

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.models import ZooWideResNet


@pytest.mark.parametrize(
    ("name", "millions"), [("wideresnet16_4", 2.76), ("wideresnet16_8", 11.0), ("wideresnet40_2", 2.26)]
)
def test_it_has_the_size_that_the_zoo_prints(name, millions):
    """Its distill.py prints 16_8(11.0M), 40_2(2.2M)."""
    counted = sum(p.numel() for p in models.build(name, num_classes=100).parameters())
    assert counted / 1e6 == pytest.approx(millions, rel=0.02)


def test_its_stem_is_narrow_and_its_first_block_has_a_shortcut():
    model = ZooWideResNet(16, 4, 10)
    assert model.channels == {"stem": 16, "layer1": 64, "layer2": 128, "layer3": 256, "pooled": 256}
    assert len(model.layer1) == 2
    assert isinstance(model.layer1[0].downsample, nn.Sequential)


def test_blocks_rectify_after_the_sum():
    model = ZooWideResNet(10, 2, 10).eval()
    seen = model.represent(torch.randn(2, 3, 32, 32))
    for stage in ("layer1", "layer2", "layer3"):
        assert torch.equal(seen.features[stage], seen.before_relu[stage].relu())
        assert (seen.before_relu[stage] < 0).any()


def test_with_width_one_it_is_the_residual_network_of_depth_two_less():
    wide, plain = ZooWideResNet(22, 1, 10), models.build("resnet20", 10)
    assert list(wide.state_dict()) == list(plain.state_dict())
    wide.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(wide.eval()(images), plain.eval()(images))


@pytest.mark.parametrize("depth", [8, 18, 20])
def test_another_depth_is_refused_in_one_line(depth):
    with pytest.raises(UserError, match=f"depth 6n \\+ 4 .* not {depth}; take wideresnet"):
        models.build(f"wideresnet{depth}_4")
