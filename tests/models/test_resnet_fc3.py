"""Against torchvision's residual networks, whose trunk these have, and sums of the published layers."""

import pytest
import torch
import torchvision

from ignite_kd import models


@pytest.mark.parametrize(
    ("depth", "width", "hidden"), [(18, 512, 4096), (50, 2048, 2048), (101, 2048, 2048), (152, 2048, 2048)]
)
def test_parameters_are_those_of_the_trunk_and_of_what_follows(depth, width, hidden):
    with torch.device("meta"):
        ours = models.build(f"resnet{depth}_fc3", 20)
        theirs = torchvision.models.get_model(f"resnet{depth}", num_classes=20)
    trunk = [(name, t.shape) for name, t in theirs.state_dict().items() if not name.startswith("fc.")]
    assert [(name, t.shape) for name, t in ours.state_dict().items()][: len(trunk)] == trunk
    extra = 2 * (9 * width * width + width + 2 * width)
    linear = (width + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 20
    count = sum(p.numel() for name, p in theirs.named_parameters() if not name.startswith("fc."))
    assert models.parameters(ours) == count + extra + linear


@torch.no_grad()
def test_the_trunk_computes_what_torchvisions_does():
    torch.manual_seed(0)
    ours = models.build("resnet18_fc3", 5).eval()
    with torch.device("meta"):
        theirs = torchvision.models.resnet18(num_classes=5).eval()
    theirs.load_state_dict(ours.state_dict() | {"fc.weight": torch.eye(5, 512), "fc.bias": torch.zeros(5)},
                           strict=False, assign=True)  # fmt: skip
    images, given = torch.randn(2, 3, 64, 64), []
    theirs.layer4.register_forward_hook(lambda module, seen, out: given.append(out))
    theirs(images)
    conv = ours.extra[:5](given[0])
    assert torch.equal(ours.represent(images).before_relu["conv"], conv)
    pooled = conv.relu().mean((2, 3))
    assert torch.equal(ours(images), ours.mlp(pooled))
