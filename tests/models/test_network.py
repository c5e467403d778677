"""What every network declares, asked of every name."""

import pytest
import torch
from torch import nn

from ignite_kd import models
from ignite_kd.errors import UserError

# RepDistiller's stages for AB: what it trains first
FEATURES = {
    "wrn_16_2": "conv1 layer1 layer2 layer3",
    "resnet8x4": "conv1 bn1 layer1 layer2 layer3",
    "ResNet50": "conv1 bn1 layer1 layer2 layer3 layer4",
    "vgg8": "block0 block1 block2 block3 block4",
    "MobileNetV2": "conv1 blocks",
    "ShuffleV1": "conv1 bn1 layer1 layer2 layer3",
    "ShuffleV2": "conv1 bn1 layer1 layer2 layer3",
    "mlp_1024": "hidden1 hidden2 hidden3",
}


@pytest.mark.parametrize("name", models.names())
def test_declarations_are_what_the_network_gives(name):
    size = 224 if name in ("ResNet18", "ResNet34") else 32
    with torch.device("meta"):
        model = models.build(name, num_classes=7).eval()
        seen = model.represent(torch.empty(2, 3, size, size))
    maps = {stage: t for stage, t in seen.features.items() if t.dim() == 4}
    assert model.strides == {stage: size // t.shape[-1] for stage, t in maps.items()}
    assert list(model.strides) == list(maps)
    assert model.norms.keys() <= seen.before_relu.keys()
    for stage, norm in model.norms.items():
        assert model.get_submodule(norm).num_features == model.channels[stage]
    children = [child for child, _ in model.named_children()]
    assert [child for child in children if child in model.feature_modules] == list(model.feature_modules)
    if name in FEATURES:
        assert model.feature_modules == tuple(FEATURES[name].split())


@pytest.mark.parametrize("name", [name for name in models.names() if name not in ("ShuffleV2", "resnet110")])
@torch.no_grad()
def test_the_norm_of_a_stage_moves_what_comes_before_its_rectification(name):
    model = models.build(name, num_classes=7).double().eval()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert list(model.norms) == list(model.represent(images).before_relu)
    for stage, norm in model.norms.items():
        before = model.represent(images).before_relu[stage]
        model.get_submodule(norm).bias.add_(0.5)
        torch.testing.assert_close(model.represent(images).before_relu[stage], before + 0.5)
        model.get_submodule(norm).bias.sub_(0.5)


@pytest.mark.parametrize("name", models.names())
def test_a_network_without_classes_is_refused(name):
    with pytest.raises(UserError, match=r"at least 1 class, not 0|num_classes is 1 or more"):
        models.build(name, num_classes=0)


def test_the_base_gives_nothing_by_itself():
    with pytest.raises(NotImplementedError):
        models.Network()(torch.zeros(1, 3, 8, 8))
    assert issubclass(models.Network, nn.Module)
