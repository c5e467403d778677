import pytest
import torch
from oracles import h
from torch import nn

from ignite_kd.errors import UserError
from ignite_kd.heads.regressor import BatchNorm, Regressor, as_map, map_size


@pytest.mark.parametrize(
    ("size", "target", "kind", "kernel", "given"),
    [
        (8, 4, nn.Conv2d, (3, 3), 4),
        (2, 1, nn.Conv2d, (3, 3), 1),
        (4, 8, nn.ConvTranspose2d, (4, 4), 8),
        (8, 8, nn.Conv2d, (1, 1), 8),
        (1, 1, nn.Conv2d, (1, 1), 1),
        (6, 4, nn.Conv2d, (3, 3), 4),
        (8, 1, nn.Conv2d, (8, 8), 1),
        (2, 8, nn.Conv2d, (1, 1), 2),  # the head pools the teacher's map to 2
        (5, 8, nn.Conv2d, (1, 1), 5),
    ],
)
def test_the_heights_choose_the_convolution(size, target, kind, kernel, given):
    regressor = Regressor(3, 5, size, target)
    assert type(regressor.conv) is kind
    assert regressor.conv.kernel_size == kernel
    assert regressor(torch.randn(2, 3, size, size)).shape == (2, 5, given, given)


def test_its_state_is_convolution_with_bias_then_batch_norm():
    keys = [key for key in Regressor(3, 5, 4, 4).state_dict() if not key.endswith("num_batches_tracked")]
    assert keys == [
        "conv.weight",
        "conv.bias",
        *(f"norm.{k}" for k in ("weight", "bias", "running_mean", "running_var")),
    ]


@pytest.mark.parametrize("rectified", [True, False])
def test_only_a_rectified_one_ends_with_relu(rectified):
    found = Regressor(3, 5, 4, 4, rectified)(h((2, 3, 4, 4), 1).float())
    assert bool((found < 0).any()) is not rectified


def test_vectors_are_maps_of_one_pixel():
    assert as_map(torch.zeros(2, 3)).shape == (2, 3, 1, 1)
    assert as_map(torch.zeros(2, 3, 4, 5)).shape == (2, 3, 4, 5)
    assert Regressor(3, 5, 1, 1)(torch.randn(4, 3)).shape == (4, 5, 1, 1)


def test_one_value_a_channel_is_normalised_by_the_running_statistics_and_leaves_them():
    norm, plain = BatchNorm(3), nn.BatchNorm2d(3)
    for each in (norm, plain):
        each.running_mean.fill_(1.0)
        each.running_var.fill_(4.0)
    one = torch.tensor([[3.0, 1.0, -1.0]])[:, :, None, None]
    assert norm(one).flatten().tolist() == pytest.approx([1.0, 0.0, -1.0], rel=1e-5)
    assert norm.running_mean.tolist() == [1.0] * 3
    more = torch.randn(1, 3, 2, 1)
    assert torch.equal(norm(more), plain(more))
    assert torch.equal(norm.running_mean, plain.running_mean)


@pytest.mark.parametrize(
    ("stage", "image_size", "height"), [("a", 32, 32), ("b", 32, 8), ("b", 33, 9), ("pooled", 32, 1), ("b", 3, 1)]
)
def test_heights_follow_from_strides_and_images(stage, image_size, height):
    assert map_size({"a": 1, "b": 4}, stage, image_size) == height


def test_images_of_no_size_are_refused():
    with pytest.raises(UserError, match=r"^image_size should be 1 or more, but 0 was given \(CIFAR has 32\)\.$"):
        map_size({}, "a", 0)
