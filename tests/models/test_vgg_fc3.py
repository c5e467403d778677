"""Against torchvision's VGG, whose names and results these are."""

import pytest
import torch
import torchvision

from ignite_kd import models


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_names_and_shapes_are_torchvisions(depth):
    with torch.device("meta"):
        ours = models.build(f"vgg{depth}_fc3", 20).state_dict()
        theirs = torchvision.models.get_model(f"vgg{depth}", num_classes=20).state_dict()
    assert [(name, t.shape) for name, t in ours.items()] == [(name, t.shape) for name, t in theirs.items()]


@torch.no_grad()
def test_results_are_torchvisions_at_every_layer_and_small_sizes():
    torch.manual_seed(0)
    ours = models.build("vgg11_fc3", 5).eval()
    with torch.device("meta"):
        theirs = torchvision.models.vgg11(num_classes=5).eval()
    theirs.load_state_dict(ours.state_dict(), assign=True)  # no second half gigabyte
    given = {}
    for stage, place in ours.layers.items():
        # cloned: what rectifies it there overwrites it
        keep = lambda module, seen, out, stage=stage: given.update({stage: out.clone()})  # noqa: E731
        theirs.get_submodule(place).register_forward_hook(keep)
    images = torch.randn(1, 3, 48, 48)
    logits, seen = theirs(images), ours.represent(images)
    assert torch.equal(seen.logits, logits)
    assert all(torch.equal(seen.before_relu[stage], out) for stage, out in given.items()) and len(given) == 4
