import math

import pytest
import torch
import torch.nn.functional as F
from oracles import fill, h

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.models import ResNet

IMAGES = h((2, 3, 32, 32), 5)


def norm(maps, state, name):
    names = [f"{name}.{entry}" for entry in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(maps, *(state[entry] for entry in names))


@pytest.mark.parametrize(("depth", "width"), [(8, 1), (14, 4)])
@torch.no_grad()
def test_the_network_is_its_formula(depth, width):
    model = fill(ResNet(depth, width, 5), 7).eval()
    state, seen = model.state_dict(), model.represent(IMAGES)
    maps = norm(F.conv2d(IMAGES, state["conv1.weight"], padding=1), state, "bn1").relu()
    torch.testing.assert_close(seen.features["stem"], maps)
    for group in (1, 2, 3):
        for block in range((depth - 2) // 6):
            here = f"layer{group}.{block}"
            stride = 2 if group > 1 and block == 0 else 1
            inner = norm(F.conv2d(maps, state[f"{here}.conv1.weight"], None, stride, 1), state, f"{here}.bn1").relu()
            branch = norm(F.conv2d(inner, state[f"{here}.conv2.weight"], padding=1), state, f"{here}.bn2")
            if f"{here}.downsample.0.weight" in state:
                maps = F.conv2d(maps, state[f"{here}.downsample.0.weight"], None, stride)
                maps = norm(maps, state, f"{here}.downsample.1")
            before = branch + maps
            maps = before.relu()
        torch.testing.assert_close(seen.before_relu[f"layer{group}"], before)
        torch.testing.assert_close(seen.features[f"layer{group}"], maps)
    pooled = F.avg_pool2d(maps, 8).flatten(1)
    torch.testing.assert_close(seen.pooled, pooled)
    torch.testing.assert_close(seen.logits, pooled @ state["fc.weight"].T + state["fc.bias"])
    shortcuts = [name for name in state if name.endswith("downsample.0.weight")]
    assert len(shortcuts) == (2 if width == 1 else 3)


def test_weights_begin_as_in_the_benchmark():
    torch.manual_seed(0)
    model = ResNet(8, 4)
    for conv in (model.conv1, model.layer1[0].conv1, model.layer3[0].conv2, model.layer2[0].downsample[0]):
        spread = math.sqrt(2 / (conv.kernel_size[0] ** 2 * conv.out_channels))
        enough = 5 / math.sqrt(2 * conv.weight.numel())
        assert conv.weight.std().item() == pytest.approx(spread, rel=enough)
    assert model.fc.weight.abs().max() <= 1 / math.sqrt(256) and model.fc.bias.any()
    assert (model.bn1.weight == 1).all() and not model.bn1.bias.any()


@pytest.mark.parametrize("name", ["resnet26", "resnet38x4", "resnet50", "resnet62"])
def test_other_depths_are_built_too(name):
    with torch.device("meta"):
        model = models.build(name, num_classes=3)
    assert model.name == name
    blocks = (int(name.removeprefix("resnet").removesuffix("x4")) - 2) // 6
    assert len(model.layer2) == blocks and model.norms["layer2"] == f"layer2.{blocks - 1}.bn2"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet101", "not 101; take resnet98 or resnet104, or torchvision:resnet101"),
        ("resnet9", "not 9; take resnet8 or resnet14$"),
        ("resnet2", "not 2; take resnet8$"),
        ("resnet18x4", "take resnet14x4 or resnet20x4$"),
    ],
)
def test_a_depth_that_does_not_exist_is_refused_with_the_nearest(name, words):
    with pytest.raises(UserError, match=words) as caught:
        models.build(name)
    assert "\n" not in str(caught.value)


def test_other_images_than_32_by_32_are_taken_too():
    seen = ResNet(8).represent(torch.zeros(2, 3, 20, 20))
    assert seen.features["layer3"].shape == (2, 64, 5, 5) and seen.logits.shape == (2, 10)
