import copy

import pytest
import torch
import torchvision
from oracles import h
from torch import nn

from ignite_kd import models


def hooked(model, image_size):
    """Products counted by forward hooks: each output number is one of a row of the weights."""
    found = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda m, _, out: found.append(m.weight[0].numel() * out[0].numel()))
    model.eval()(h((1, 3, image_size, image_size), 5).float())
    return sum(found)


@pytest.mark.parametrize(
    ("name", "image_size"),
    [("resnet20_1w1a", 32), ("mlp_16", 32), ("vgg8", 64), ("ShuffleV1", 20), ("ResNet18", 48), ("wrn_10_1", 32)],
)
@torch.no_grad()
def test_products_are_those_that_hooks_count(name, image_size):
    model = models.build(name, num_classes=7)
    assert models.macs(model, image_size) == hooked(copy.deepcopy(model), image_size)


@torch.no_grad()
def test_networks_of_torchvision_and_taps_are_counted_alike():
    model = torchvision.models.mobilenet_v2(num_classes=5)
    products = models.macs(model, 64)
    assert products == models.macs(models.tap(model, "features.3"), 64) == hooked(model, 64)
    # the projections of attention are linear layers: 4 a block, of 64 × 64 for each of 5 tokens
    small = torchvision.models.VisionTransformer(32, 16, 2, 4, 64, 128, num_classes=5).eval()
    assert models.macs(small, 32) == 4 * 64 * 3 * 256 + 2 * 5 * (4 * 64 * 64 + 2 * 64 * 128) + 64 * 5


def test_a_transposed_convolution_multiplies_every_input_with_its_filter():
    model = nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1)
    assert models.macs(model, 8) == 3 * 8 * 8 * 4 * 16


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_network_as_it_is(training):
    model = nn.Sequential(models.build("wrn_10_1"), nn.Dropout()).train(training)
    model[0].bn1.eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    generator = torch.get_rng_state()
    models.macs(model)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())
    assert all(p.grad is None and p.device.type == "cpu" for p in model.parameters())


def test_numbers_to_train():
    model = nn.Linear(3, 4)
    assert models.parameters(model) == 16
    model.bias.requires_grad_(False)
    assert models.parameters(model) == 12


def test_products_of_any_work_are_counted():
    weight, maps = torch.zeros(4, 3, 5, 5), torch.zeros(2, 3, 9, 9)
    count = models.products(lambda: (nn.functional.conv2d(maps, weight), torch.zeros(6, 7) @ torch.zeros(7, 8)))
    assert count == 2 * 4 * 5 * 5 * (3 * 5 * 5) + 6 * 7 * 8
