"""Against the table of taps (concepts.md, 3.1) and the published initialisation."""

import math

import pytest
import torch
from torch import nn

from ignite_kd import models
from ignite_kd.errors import UserError

TAPS = {
    "alexnet": (227, (256, 13, 13), 4096, ["features.10", "classifier.1", "classifier.4", "classifier.6"]),
    "vgg11": (224, (512, 14, 14), 4096, ["features.18", "classifier.0", "classifier.3", "classifier.6"]),
    "vgg16": (224, (512, 14, 14), 4096, ["features.28", "classifier.0", "classifier.3", "classifier.6"]),
    "vgg19": (224, (512, 14, 14), 4096, ["features.34", "classifier.0", "classifier.3", "classifier.6"]),
    "resnet18": (224, (512, 7, 7), 4096, ["extra.3", "mlp.0", "mlp.3", "mlp.6"]),
    "resnet50": (224, (2048, 7, 7), 2048, ["extra.3", "mlp.0", "mlp.3", "mlp.6"]),
    "resnet101": (224, (2048, 7, 7), 2048, ["extra.3", "mlp.0", "mlp.3", "mlp.6"]),
    "resnet152": (224, (2048, 7, 7), 2048, ["extra.3", "mlp.0", "mlp.3", "mlp.6"]),
}


@pytest.mark.parametrize("name", TAPS)
def test_the_four_layers_have_the_published_shapes_and_places(name):
    size, conv, width, places = TAPS[name]
    with torch.device("meta"):
        model = models.build(f"{name}_fc3", 20)
        seen = model.represent(torch.empty(2, 3, size, size))
    expected = {"conv": conv, "fc1": (width,), "fc2": (width,), "fc3": (20,)}
    for found in (seen.before_relu, seen.features):
        assert {stage: tuple(t.shape[1:]) for stage, t in found.items()} == expected
    assert model.channels == {stage: shape[0] for stage, shape in expected.items()} | {"pooled": width}
    assert seen.pooled.shape == (2, width) and seen.logits.shape == (2, 20)
    assert -(-size // model.strides["conv"]) == conv[1]
    assert model.layers == dict(zip(expected, places, strict=True))
    assert (model.name, model.num_classes) == (f"{name}_fc3", 20)


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(3)
    return models.build("resnet18_fc3", 7)


def test_features_are_rectified_and_logits_are_not(resnet):
    seen = resnet.eval().represent(torch.randn(2, 3, 40, 40))
    for stage in ("conv", "fc1", "fc2"):
        assert seen.before_relu[stage].min() < 0
        assert torch.equal(seen.features[stage], seen.before_relu[stage].relu())
    assert torch.equal(seen.features["fc3"], seen.logits) and torch.equal(seen.before_relu["fc3"], seen.logits)
    assert torch.equal(seen.pooled, seen.features["fc2"])


def test_a_dropout_before_a_layer_is_part_of_what_it_sees(resnet):
    images = torch.randn(1, 3, 40, 40).expand(2, -1, -1, -1)
    seen = resnet.train().represent(images)
    for stage, alike in (("conv", True), ("fc1", True), ("fc2", False), ("fc3", False)):
        rows = seen.before_relu[stage]
        assert torch.allclose(rows[0], rows[1], atol=1e-5) is alike, stage
    zeros = (seen.pooled == 0).float().mean() - (seen.features["fc2"] == 0).float().mean()
    assert 0.1 < zeros < 0.4  # half of those that were not zero before


def test_weights_are_drawn_as_published(resnet):
    for name, module in models.build("resnet18_fc3", 7).named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05), name
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.05), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.running_mean == 0).all() and (module.running_var == 1).all()
            assert module.num_batches_tracked == 0
        if getattr(module, "bias", None) is not None:
            assert (module.bias == 0).all(), name


def test_one_seed_gives_one_start(resnet):
    torch.manual_seed(3)
    again = models.build("resnet18_fc3", 7)
    # only statistics have moved since
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), resnet.parameters(), strict=True))


def test_a_stage_says_what_it_is_made_by(resnet):
    trunk = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "extra"]
    assert resnet.up_to("conv") == trunk
    assert resnet.up_to("fc2") == [*trunk, "mlp.0", "mlp.3"]
    with pytest.raises(UserError, match="resnet18_fc3 has no stage 'fc4'; it gives conv, fc1, fc2, fc3"):
        resnet.up_to("fc4")


def test_gradients_reach_every_layer_below_a_stage_and_none_above(resnet):
    resnet.zero_grad(set_to_none=True)
    resnet.train().represent(torch.randn(2, 3, 40, 40)).before_relu["fc1"].square().mean().backward()
    below = tuple(f"{name}." for name in resnet.up_to("fc1"))
    for name, parameter in resnet.named_parameters():
        assert (parameter.grad is not None) is name.startswith(below), name


@pytest.mark.parametrize(("name", "size"), [("alexnet_fc3", 62), ("vgg11_fc3", 31)])
def test_images_whose_maps_would_vanish_are_refused(name, size):
    with torch.device("meta"):
        model = models.build(name, 3)
        assert model(torch.empty(1, 3, size + 1, size + 1)).shape == (1, 3)
        with pytest.raises(UserError, match=f"{name} needs images of {size + 1} pixels or more, not {size}"):
            model(torch.empty(1, 3, size, size))


@pytest.mark.parametrize("name", ["vgg12_fc3", "resnet20_fc3"])
def test_a_depth_that_there_is_not_is_refused(name):
    with pytest.raises(UserError, match=r"this network has depth .* take (vgg16|resnet50)_fc3"):
        models.build(name)
