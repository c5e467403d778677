import copy

import pytest
import torch
import torchvision
from oracles import h
from torch import nn

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.models.from_torchvision import stages_of

# channels and strides by hand from the papers' tables, for images of 224×224
STAGES = {
    "resnet18": ([64, 64, 128, 256, 512, 512], [2, 4, 8, 16, 32]),
    "mobilenet_v2": ([16, 24, 32, 96, 1280, 1280], [2, 4, 8, 16, 32]),
    "vgg11_bn": ([64, 128, 256, 512, 512, 4096], [1, 2, 4, 8, 16]),
    "densenet121": ([64, 256, 512, 1024, 1024, 1024], [2, 4, 8, 16, 32]),
    "shufflenet_v2_x1_0": ([24, 116, 232, 1024, 1024], [2, 8, 16, 32]),
    "googlenet": ([64, 192, 480, 832, 1024, 1024], [2, 4, 8, 16, 32]),
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_are_those_of_the_paper(name):
    model = models.build(f"torchvision:{name}", num_classes=7)
    channels, strides = STAGES[name]
    assert (model.name, model.num_classes) == (f"torchvision:{name}", 7)
    assert list(model.channels) == ["stem", *(f"layer{i}" for i in range(1, len(strides))), "pooled"]
    assert list(model.channels.values()) == channels
    assert model.strides == dict(zip(model.channels, strides, strict=False))
    assert all(model.get_submodule(norm).num_features == model.channels[stage] for stage, norm in model.norms.items())
    for training in (True, False):
        with torch.no_grad():
            seen = model.train(training).represent(h((2, 3, 64, 64), 5).float())
        assert seen.logits.shape == (2, 7)
        assert {stage: t.shape[1] for stage, t in seen.features.items()} | {"pooled": seen.pooled.shape[1]} == (
            model.channels
        )
        assert [64 // t.shape[-1] for t in seen.features.values()] == strides


@torch.no_grad()
def test_stages_of_a_resnet_are_its_layers():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(num_classes=3)
    torch.manual_seed(0)
    model = models.build("torchvision:resnet50", num_classes=3)
    assert all(torch.equal(t, model.state_dict()[key]) for key, t in theirs.state_dict().items())
    images, found = h((2, 3, 32, 32), 5).float(), {}
    for stage in ("relu", "layer1", "layer2", "layer3", "layer4"):
        theirs.get_submodule(stage).register_forward_hook(lambda _, __, out, s=stage: found.update({s: out.clone()}))
    theirs.layer2[3].bn3.register_forward_hook(lambda _, __, out: found.update(branch=out.clone()))
    theirs.layer2[2].register_forward_hook(lambda _, __, out: found.update(shortcut=out.clone()))
    logits, seen = theirs.eval()(images), model.eval().represent(images)
    assert torch.equal(seen.logits, logits)
    for stage, tensor in seen.features.items():
        assert torch.equal(tensor, found["relu" if stage == "stem" else stage]), stage
    torch.testing.assert_close(seen.before_relu["layer2"], found["branch"] + found["shortcut"])
    assert model.norms == {
        "stem": "bn1", "layer1": "layer1.2.bn3", "layer2": "layer2.3.bn3", "layer3": "layer3.5.bn3",
        "layer4": "layer4.2.bn3",
    }  # fmt: skip
    assert model.feature_modules == ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def test_the_norm_of_a_linear_bottleneck_is_that_of_its_branch():
    model = models.build("torchvision:mobilenet_v2")
    assert model.norms["layer1"] == "features.3.conv.3"  # features.3 adds its input, whose norm is not meant
    assert model.norms["layer4"] == "features.18.1"
    seen = model.represent(h((2, 3, 32, 32), 5).float())
    assert torch.equal(seen.before_relu["layer1"], seen.features["layer1"])
    torch.testing.assert_close(seen.before_relu["layer4"].clamp(0, 6), seen.features["layer4"])


def test_a_transformer_has_pooled_features():
    model = models.build("torchvision:vit_b_32", num_classes=3, image_size=32)
    seen = model.eval().represent(h((2, 3, 32, 32), 5).float())
    assert seen.pooled.shape == (2, 768) and seen.logits.shape == (2, 3)
    assert model.channels["pooled"] == 768


def test_stages_of_vit_b_16_and_inception_v3():
    with torch.device("meta"):
        vit = models.build("torchvision:vit_b_16", num_classes=3)
        inception = torchvision.models.inception_v3(aux_logits=False, init_weights=False)
    assert vit.channels == {"stem": 768, "pooled": 768} and vit.strides == {"stem": 16}
    assert list(stages_of(inception, 299).values())[-3:] == ["Mixed_5d", "Mixed_6e", "Mixed_7c"]


class Branched(nn.Module):
    """A shortcut beside its second convolution, and a pooling at the end."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 2, 2), nn.Conv2d(4, 8, 2, 2)
        self.fc = nn.Linear(8, 5)

    def forward(self, images):
        maps = self.first(images)
        maps = self.second(maps.sigmoid() * 2) + self.third(maps)
        return self.fc(nn.functional.max_pool2d(maps, 2).mean((2, 3)))


def test_neither_branches_nor_poolings_are_stages():
    assert stages_of(Branched().to("meta"), 16) == {"stem": "first", "layer1": "add"}


def test_a_copy_is_the_same():
    model = models.build("torchvision:resnet18", num_classes=3).eval()
    again, images = copy.deepcopy(model), h((1, 3, 32, 32), 5).float()
    assert torch.equal(again(images), model(images))
    assert (again.channels, again.strides, again.norms, again.name) == (
        model.channels, model.strides, model.norms, model.name,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision:resnet19", "unknown model 'torchvision:resnet19'; did you mean 'torchvision:resnet18'"),
        ("torchvision:ResNet18", "did you mean 'torchvision:resnet18'"),
        ("torchvision:", r"unknown model 'torchvision:'"),
        ("densenet121", "unknown model 'densenet121'; did you mean 'torchvision:densenet121'"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(name, words):
    with pytest.raises(UserError, match=words) as caught:
        models.build(name)
    assert "\n" not in str(caught.value)


def test_a_network_without_classes_is_refused():
    with pytest.raises(UserError, match="at least 1 class, not 0"):
        models.build("torchvision:resnet18", num_classes=0)
