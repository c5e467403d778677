import math

import pytest
import torch
from oracles import fill, h

from ignite_kd.models import MobileNetV2

IMAGES = h((2, 3, 32, 32), 5)


@torch.no_grad()
def test_stages_are_the_outputs_of_four_linear_bottlenecks():
    model = fill(MobileNetV2(6), 7).eval()
    found = {}
    for stage, place in {
        "stem": "conv1",
        "layer1": "blocks.1",
        "layer2": "blocks.2.2.conv",
        "layer4": "blocks.6",
    }.items():
        model.get_submodule(place).register_forward_hook(lambda _, __, out, s=stage: found.update({s: out.clone()}))
    model.blocks[2][1].register_forward_hook(lambda _, __, out: found.update(shortcut=out.clone()))
    seen = model.represent(IMAGES)
    for stage in ("stem", "layer1", "layer4"):
        torch.testing.assert_close(seen.features[stage], found[stage])
    torch.testing.assert_close(seen.features["layer2"], found["layer2"] + found["shortcut"])
    assert all(tensor is seen.features[stage] for stage, tensor in seen.before_relu.items())
    assert all((tensor < 0).any() for tensor in seen.before_relu.values())
    assert (seen.features["stem"] >= 0).all() and model.conv1(IMAGES * 9).max() > 6  # no ReLU6


def test_weights_begin_as_in_the_benchmark():
    torch.manual_seed(0)
    model = MobileNetV2(100)
    depthwise, last = model.blocks[5][1].conv[3], model.conv2[0]
    assert depthwise.groups == depthwise.in_channels == 480
    for conv in (depthwise, last, model.blocks[6][0].conv[6]):
        spread = math.sqrt(2 / (conv.kernel_size[0] ** 2 * conv.out_channels))
        assert conv.weight.std().item() == pytest.approx(spread, rel=5 / math.sqrt(2 * conv.weight.numel()))
    assert model.classifier[0].weight.std().item() == pytest.approx(0.01, rel=5 / math.sqrt(2 * 128_000))
    assert not model.classifier[0].bias.any()
