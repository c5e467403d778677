from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from ignite_kd import models
from ignite_kd.concepts.taps import frozen, layers, tapped
from ignite_kd.errors import UserError

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["wrn_10_1", "resnet8", "vgg8", "mlp_32", "MobileNetV2"])
def test_every_stage_is_what_the_network_shows_rectified(name):
    network = models.build(name, 5).eval()
    shown = network.represent(IMAGES)
    for stage in [*network.channels, "logits"]:
        with frozen(network):
            found = tapped(network, stage)(IMAGES)
            raw = tapped(network, stage, rectified=False)(IMAGES)
        assert torch.equal(found, F.relu(shown.stage(stage))) and torch.equal(raw, shown.stage(stage)), stage


def test_what_comes_after_a_stage_is_not_computed():
    network = models.build("resnet8", 5)
    ran = []
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    with frozen(network):
        read = tapped(network, "layer1")
        read(IMAGES)
        ran.clear()
        read(IMAGES)
        assert "layer1.0.conv2" in ran and not any(name.startswith(("layer2", "layer3", "fc")) for name in ran)


def test_a_module_of_anybodys_network_before_what_overwrites_it():
    network = torchvision.models.vgg11(num_classes=4).eval()
    inside = network.features[:7](IMAGES)  # its rectification works in place
    later = []
    network.features[8].register_forward_hook(lambda *_: later.append(1))
    with frozen(network), torch.no_grad():
        found = tapped(network, "features.6", rectified=False)(IMAGES)
    assert torch.equal(found, inside) and found.min() < 0
    assert not later and not network.features[6]._forward_hooks


def test_new_weights_are_seen():
    network, other = models.build("resnet8", 5), models.build("resnet8", 5)
    with frozen(network), torch.no_grad():
        for layer in ("layer1", "layer1.0.conv1"):
            read = tapped(network, layer)
            before = read(IMAGES)
            network.load_state_dict(other.state_dict())
            assert not torch.equal(read(IMAGES), before)
            assert torch.equal(read(IMAGES), tapped(other.eval(), layer)(IMAGES))
            network.load_state_dict(models.build("resnet8", 5).state_dict())


def test_a_network_that_asks_for_sizes_is_read_whole():
    class Fussy(nn.Module):
        channels: ClassVar = {"first": 3}

        def represent(self, images):
            from ignite_kd.representation import Representation

            if images.sum() > 0:
                return Representation(images.flatten(1), {"first": 2 * images})
            return Representation(images.flatten(1), {"first": 3 * images})

    for sign in (1, -1):
        assert torch.equal(tapped(Fussy(), "first", False)(sign * IMAGES.abs()), (2.5 - sign / 2) * sign * IMAGES.abs())


def test_freezing_is_taken_back():
    network = models.build("resnet8", 5).train()
    network.fc.bias.requires_grad_(False)
    network.layer1.eval()
    with frozen(network):
        assert not any(p.requires_grad for p in network.parameters()) and not network.training
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == ["fc.bias"]
    assert network.training and not network.layer1.training


@pytest.mark.parametrize(
    ("layer", "words"),
    [("layer7", ["unknown layer 'layer7'", "layer3", "pooled", "logits"]), ("layer1.0", None), ("", ["unknown layer"])],
)
def test_a_layer_that_is_not_there_is_refused_with_those_that_are(layer, words):
    network = models.build("resnet8", 5)
    if words is None:
        assert layer in layers(network)
        return
    with pytest.raises(UserError) as caught:
        tapped(network, layer)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_a_module_that_never_runs_or_gives_no_tensor_is_refused():
    network = torchvision.models.googlenet(num_classes=4, aux_logits=False, init_weights=False).eval()
    network.unused = nn.ModuleList([nn.Identity()])
    with pytest.raises(UserError, match="never runs"):
        tapped(network, "unused")(IMAGES)

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(UserError, match="no tensor but a tuple"):
        tapped(nn.Sequential(Pair()), "0")(IMAGES)
