import pytest
import torch

from ignite_kd import models
from ignite_kd.errors import UserError


def test_the_names_of_the_benchmark_are_listed():
    names = models.names()
    resnets = {f"resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)} | {"resnet8x4", "resnet32x4", "ResNet50"}
    wide = {"wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2"}
    others = {"vgg8", "vgg11", "vgg13", "vgg16", "vgg19", "MobileNetV2", "ShuffleV1", "ShuffleV2"}
    assert resnets | wide | others | {"mlp_1024", "ResNet18", "ResNet34", "resnet20_1w1a"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", models.names())
@torch.no_grad()
def test_every_network_declares_what_it_gives(name):
    model = models.build(name, num_classes=7)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    seen = model.eval().represent(images)
    assert model.name == name
    assert model.num_classes == 7 and seen.logits.shape == (2, 7)
    given = {stage: tensor.shape[1] for stage, tensor in seen.features.items()} | {"pooled": seen.pooled.shape[1]}
    assert list(model.channels.items()) == list(given.items())
    assert seen.before_relu.keys() <= seen.features.keys()
    assert all(tensor.shape == seen.features[stage].shape for stage, tensor in seen.before_relu.items())
    assert torch.equal(model(images), seen.logits)


@pytest.mark.parametrize("depth", [18, 34])
def test_itrds_names_of_the_imagenet_networks_are_known(depth):
    with torch.device("meta"):
        assert models.build(f"resnet{depth}").name == f"ResNet{depth}"


def test_a_family_builds_sizes_that_are_not_listed():
    with torch.device("meta"):
        wide = models.build("wrn_28_10")
    assert "wrn_28_10" not in models.names()
    assert wide.channels["layer3"] == wide.fc.in_features == 640
    assert len(wide.layer1.layer) == 4
    assert models.build("mlp_16", num_classes=3).channels["pooled"] == 16
    with torch.device("meta"):
        assert models.build("mlp").name == "mlp_1024"


def test_options_reach_the_network():
    model = models.build("mlp_8", num_classes=3, image_size=8, hidden=2)
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 3)
    assert list(model.channels) == ["hidden1", "hidden2", "pooled"]


def test_weights_come_from_torchs_random_state():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in models.build("wrn_10_1").parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wnr_40_2", "unknown model 'wnr_40_2'; did you mean 'wrn_40_2'"),
        ("mlp1024", "unknown model 'mlp1024'; did you mean 'mlp_1024'"),
        ("WRN_16_1 ", "unknown model 'WRN_16_1 '; did you mean 'wrn_16_1'"),
        ("mobilenetv2", "unknown model 'mobilenetv2'; did you mean 'MobileNetV2'"),
        ("mobilenet_v2", "did you mean 'MobileNetV2'"),
        ("VGG8", "unknown model 'VGG8'; did you mean 'vgg8'"),
        ("shufflenetv1", "did you mean 'ShuffleV1'"),
        ("resnet8x2", "did you mean 'resnet8x4'"),
        ("efficientnet_b0", "did you mean 'torchvision:efficientnet_b0'"),
        ("wrn_16_1.5", "unknown model 'wrn_16_1.5'; did you mean 'wrn_16_1'"),
        ("", r"unknown model '' \(possible: wrn_16_1, .*mlp_1024"),
        ("wrn_17_2", "not 17; take 16 or 22"),
        ("mlp_0", "width is 1 or more, not 0"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, words):
    with pytest.raises(UserError, match=words):
        models.build(name)


def test_a_size_that_a_network_does_not_take_is_one_line():
    with pytest.raises(UserError, match=r"torchvision:alexnet does not take images of 32×32: ") as refused:
        models.check_name("torchvision:alexnet", 32)
    assert "\n" not in str(refused.value)
    models.check_name("torchvision:alexnet", 64)
    before = torch.random.get_rng_state()
    for name in models.names():
        models.check_name(name, 32)
    assert torch.equal(before, torch.random.get_rng_state())
