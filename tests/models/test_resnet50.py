import re

import pytest
import torch
import torchvision
from oracles import fill, h

from ignite_kd.models import ResNet50


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_behind_its_stem_it_is_torchvisions_network(training):
    ours = fill(ResNet50(6), 7).train(training)
    theirs = torchvision.models.resnet50(num_classes=6).train(training)
    theirs.conv1, theirs.maxpool = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False), torch.nn.Identity()
    theirs.double()
    renamed = {re.sub(r"^linear", "fc", name): t for name, t in ours.state_dict().items()}
    theirs.load_state_dict({name.replace("shortcut", "downsample"): t.clone() for name, t in renamed.items()})
    images, found = h((2, 3, 32, 32), 5), {}
    for stage in ("relu", "layer1", "layer2", "layer3", "layer4"):
        theirs.get_submodule(stage).register_forward_hook(lambda _, __, out, s=stage: found.update({s: out.clone()}))
    logits, seen = theirs(images), ours.represent(images)
    torch.testing.assert_close(seen.logits, logits)
    for stage, tensor in seen.features.items():
        torch.testing.assert_close(tensor, found["relu" if stage == "stem" else stage])
    for stage, before in seen.before_relu.items():
        torch.testing.assert_close(before.clamp(min=0), found[stage])


def test_no_norm_begins_at_zero():
    assert all(
        (module.weight == 1).all() for module in ResNet50().modules() if isinstance(module, torch.nn.BatchNorm2d)
    )
