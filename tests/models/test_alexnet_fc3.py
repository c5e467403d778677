"""Against torchvision's AlexNet, whose names and results these are."""

import torch
import torchvision

from ignite_kd import models


@torch.no_grad()
def test_names_and_results_are_torchvisions_at_every_layer():
    torch.manual_seed(0)
    ours = models.build("alexnet_fc3", 5).eval()
    with torch.device("meta"):
        theirs = torchvision.models.alexnet(num_classes=5).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict(), assign=True)
    given = {}
    for stage, place in ours.layers.items():
        keep = lambda module, seen, out, stage=stage: given.update({stage: out.clone()})  # noqa: E731
        theirs.get_submodule(place).register_forward_hook(keep)
    images = torch.randn(2, 3, 80, 80)
    logits, seen = theirs(images), ours.represent(images)
    assert torch.equal(seen.logits, logits)
    assert all(torch.equal(seen.before_relu[stage], out) for stage, out in given.items()) and len(given) == 4


def test_a_dropout_comes_before_the_first_linear_layer():
    model = models.build("alexnet_fc3", 5).train()
    rows = model.represent(torch.randn(1, 3, 64, 64).expand(2, -1, -1, -1)).before_relu
    assert torch.allclose(rows["conv"][0], rows["conv"][1], atol=1e-5)
    assert not torch.allclose(rows["fc1"][0], rows["fc1"][1], atol=1e-2)
