import pytest
import torch
import torch.nn.functional as F
from oracles import h

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.models import BinaryResNet
from ignite_kd.models.binary_resnet import BinaryConv2d, sign


def test_the_gradient_of_a_sign_is_that_of_the_clipped_identity():
    x = torch.tensor([-3.0, -1.0, -0.2, 0.0, -0.0, 0.7, 1.0, 1.1], requires_grad=True)
    upstream = torch.arange(1.0, 9.0)
    signs = sign(x)
    assert signs.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]
    (signs * upstream).sum().backward()
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 7, 0]


def test_a_convolution_multiplies_signs_with_two_values_a_filter():
    convolution = BinaryConv2d(3, 4, 3, stride=2, padding=1, bias=False).double()
    convolution.weight.data = h((4, 3, 3, 3), 2000)
    images = h((2, 3, 8, 8), 5)
    weight = convolution.weight.detach()
    two = torch.stack([(2 * (w >= 0).double() - 1) * w.abs().sum() / 27 for w in weight])
    assert all(len(w.unique()) == 2 for w in convolution.binary_weight())
    torch.testing.assert_close(convolution.binary_weight(), two)
    torch.testing.assert_close(convolution(images), F.conv2d(2 * (images >= 0).double() - 1, two, None, 2, 1))


def test_the_weights_learn_through_their_signs_and_through_their_scale():
    convolution = BinaryConv2d(1, 1, 2, bias=False).double()
    convolution.weight.data = torch.tensor([[[[0.5, -2.0], [0.1, -0.4]]]], dtype=torch.float64)
    images = torch.tensor([[[[1.0, 1.0], [1.0, -1.0]]]], dtype=torch.float64)
    convolution(images).sum().backward()
    # d/dw of sum_i x_i s(w_i) m, m = mean |w| = 0.75: x m where |w| ≤ 1, and s(w) / 4 × (sum_i x_i s(w_i) = 2)
    expected = [[0.75 + 0.5, -0.5], [0.75 + 0.5, -0.75 - 0.5]]
    torch.testing.assert_close(convolution.weight.grad[0, 0], torch.tensor(expected, dtype=torch.float64))


def test_only_inner_convolutions_are_binary():
    model = BinaryResNet(20, 10)
    kinds = {name: type(module) for name, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)}
    assert kinds.pop("conv1") is torch.nn.Conv2d
    assert len(kinds) == 18 and set(kinds.values()) == {BinaryConv2d}
    # resnet20 without the two convolutions and norms of its shortcuts
    shortcuts = 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64
    assert models.parameters(model) == models.parameters(models.build("resnet20")) - shortcuts


def test_it_learns():
    torch.manual_seed(0)
    model = models.build("resnet8_1w1a", num_classes=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    images, labels = h((16, 3, 16, 16), 3).float(), torch.arange(16) % 4
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@torch.no_grad()
def test_features_are_clipped_sums():
    seen = BinaryResNet(14).represent(h((2, 3, 32, 32), 5).float())
    for stage, before in seen.before_relu.items():
        torch.testing.assert_close(seen.features[stage], before.clamp(-1, 1))
    torch.testing.assert_close(seen.pooled, seen.features["layer3"].mean(dim=(2, 3)))
    # the shortcut has no weights: with dead branches every second pixel of the stem comes through, new channels are 0
    model = BinaryResNet(8).eval()
    for name, module in model.named_modules():
        if name.startswith("layer") and isinstance(module, torch.nn.BatchNorm2d):
            module.weight.zero_()
    seen = model.represent(h((2, 3, 32, 32), 5).float())
    torch.testing.assert_close(seen.features["layer2"][:, 8:24], seen.features["stem"][:, :, ::2, ::2])
    assert not seen.features["layer2"][:, :8].any() and not seen.features["layer2"][:, 24:].any()


def test_a_depth_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="not 18; take resnet14_1w1a or resnet20_1w1a"):
        models.build("resnet18_1w1a")
