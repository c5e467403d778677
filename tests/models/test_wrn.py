import hashlib
import math
import re

import pytest
import torch
import torch.nn.functional as F
from oracles import fill, h

from ignite_kd.errors import UserError
from ignite_kd.models import WideResNet

# What RepDistiller at b84f547 computes with 100 classes: trainable numbers, entries of the state dict without and with
# batch counters, the first 16 hexadecimal digits of the sha256 of its names and shapes in order (one line each).
INVENTORY = {
    (16, 1): (180_916, 69, 13, "45eebafc0c2e219b"),
    (16, 2): (703_284, 70, 13, "3ee85888d73ba42a"),
    (40, 1): (569_780, 189, 37, "d62ec3f89d87e430"),
    (40, 2): (2_255_156, 190, 37, "48fa15855c4d9143"),
}
# The same code in float64, in evaluation mode, on h((2, 3, 32, 32), 5), filled from 7: the sum of all logits, the first
# three of the first image, the norm of all; the norms of stem, layer1 … layer3, pooled; of layer1 … before_relu.
OUTPUTS = {
    (16, 1): (
        (-78.103194, (-1.5645998, -0.8363616, -1.8105865), 24.994984),
        (150.80361, 315.41939, 314.14685, 210.75609, 15.540534),
        (334.28031, 321.36865, 227.33477),
    ),
    (16, 2): (
        (-25.313456, (-3.0001218, -6.4899413, 3.2302226), 33.476251),
        (150.80361, 445.91879, 446.53973, 423.96329, 29.361563),
        (476.03125, 461.34955, 455.04318),
    ),
    (40, 1): (
        (338.85335, (9.9079117, -11.738707, -11.436863), 203.83003),
        (150.80361, 761.93914, 705.1009, 1690.7228, 133.63685),
        (797.57833, 773.89246, 1803.546),
    ),
    (40, 2): (
        (-8.9534711, (15.690748, -29.667229, 33.337454), 543.50765),
        (150.80361, 815.69504, 1756.9691, 7236.2812, 503.8091),
        (907.8538, 1795.3064, 7670.5523),
    ),
}
# The released code of VID with its 10 classes: trainable numbers and the sum of all logits.
RELEASED = {
    (16, 1): (175_066, -12.884187),
    (16, 2): (691_674, -0.40074524),
    (40, 1): (563_930, 7.5614652),
    (40, 2): (2_243_546, 231.64713),
}
# Multiplications of all convolutions and of the classifier for one image and 100 classes.
MACS = {(16, 1): 26_663_168, (16, 2): 101_118_464, (40, 1): 83_286_272, (40, 2): 327_610_880}
IMAGES = h((2, 3, 32, 32), 5)
SIZES = pytest.mark.parametrize(("depth", "width"), INVENTORY)


def count(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def norms(tensors):
    return [t.norm().item() for t in tensors]


@SIZES
def test_parameters_names_and_shapes_are_those_of_the_benchmark(depth, width):
    parameters, entries, counters, digest = INVENTORY[depth, width]
    model = WideResNet(depth, width, num_classes=100)
    state = model.state_dict()
    lines = []
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            theirs = re.sub(r"^layer(\d)", r"block\1", name).replace("conv_shortcut", "convShortcut")
            lines.append(f"{theirs} {'x'.join(map(str, tensor.shape))}")
    assert count(model) == parameters
    assert (len(lines), len(state) - len(lines)) == (entries, counters)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest


@SIZES
@torch.no_grad()
def test_outputs_are_those_of_the_benchmark(depth, width):
    (total, first, norm), after, before = OUTPUTS[depth, width]
    seen = fill(WideResNet(depth, width, num_classes=100), 7).eval().represent(IMAGES)
    assert seen.logits.shape == (2, 100)
    assert seen.logits[0, :3].tolist() == pytest.approx(first, rel=1e-7)
    # the sum cancels: its error is measured by what is added
    assert seen.logits.sum().item() == pytest.approx(total, rel=1e-7, abs=1e-8 * norm)
    assert seen.logits.norm().item() == pytest.approx(norm, rel=1e-7)
    assert norms([*seen.features.values(), seen.pooled]) == pytest.approx(after, rel=1e-7)
    assert norms(seen.before_relu.values()) == pytest.approx(before, rel=1e-7)
    assert list(seen.before_relu) == ["layer1", "layer2", "layer3"]


@SIZES
@torch.no_grad()
def test_ten_classes_give_the_numbers_of_the_released_code(depth, width):
    parameters, total = RELEASED[depth, width]
    model = fill(WideResNet(depth, width), 7).eval()
    assert count(model) == parameters
    logits = model(IMAGES)
    assert logits.sum().item() == pytest.approx(total, rel=1e-7, abs=1e-8 * OUTPUTS[depth, width][0][2])
    assert logits[0, :3].tolist() == pytest.approx(OUTPUTS[depth, width][0][1], rel=1e-7)


@torch.no_grad()
def test_features_have_the_shapes_of_the_benchmark():
    seen = WideResNet(16, 2).represent(torch.zeros(1, 3, 32, 32))
    shapes = {stage: tuple(t.shape[1:]) for stage, t in seen.features.items()}
    assert shapes == {"stem": (16, 32, 32), "layer1": (32, 32, 32), "layer2": (64, 16, 16), "layer3": (128, 8, 8)}
    del shapes["stem"]
    assert {stage: tuple(t.shape[1:]) for stage, t in seen.before_relu.items()} == shapes
    assert seen.pooled.shape == (1, 128)


@SIZES
@torch.no_grad()
def test_work_is_that_of_the_benchmark(depth, width):
    model = WideResNet(depth, width, num_classes=100).eval()
    macs = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            # each output number is a product of one row of the weights
            module.register_forward_hook(lambda m, _, out: macs.append(m.weight[0].numel() * out[0].numel()))
    model(IMAGES[:1].float())
    assert sum(macs) == MACS[depth, width]


@torch.no_grad()
def test_names_within_a_block_are_those_of_the_released_code():
    names = [name for name in WideResNet(10, 1).state_dict() if "num_batches" not in name and "running" not in name]
    block = ["bn1.weight", "bn1.bias", "conv1.weight", "bn2.weight", "bn2.bias", "conv2.weight"]
    assert names == [
        "conv1.weight",
        *(f"layer1.layer.0.{name}" for name in block),
        *(f"layer2.layer.0.{name}" for name in [*block, "conv_shortcut.weight"]),
        *(f"layer3.layer.0.{name}" for name in [*block, "conv_shortcut.weight"]),
        "bn1.weight",
        "bn1.bias",
        "fc.weight",
        "fc.bias",
    ]


@torch.no_grad()
def test_running_statistics_move_once_a_call_also_where_a_feature_is_taken_before_its_rectification():
    model = fill(WideResNet(10, 1), 7).train()
    norms_of = {"layer1": model.layer2.layer[0].bn1, "layer2": model.layer3.layer[0].bn1, "layer3": model.bn1}
    before = {stage: (bn.running_mean.clone(), bn.running_var.clone()) for stage, bn in norms_of.items()}
    seen = model.represent(IMAGES)
    for stage, bn in norms_of.items():
        mean, variance = before[stage]
        values = seen.features[stage].transpose(0, 1).flatten(1)
        torch.testing.assert_close(bn.running_mean, 0.9 * mean + 0.1 * values.mean(dim=1))
        torch.testing.assert_close(bn.running_var, 0.9 * variance + 0.1 * values.var(dim=1))
    counters = [t for name, t in model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert [int(t) for t in counters] == [1] * 7


@pytest.mark.parametrize("training", [True, False])
def test_norms_before_a_rectification_may_be_updated_twice_with_no_other_effect(training):
    torch.manual_seed(0)
    once, twice = fill(WideResNet(10, 1), 7).train(training), fill(WideResNet(10, 1), 7).train(training)
    twice.doubled_norm_updates = True
    assert not once.doubled_norm_updates and "doubled_norm_updates" not in once.state_dict()
    shared = ("layer2.layer.0.bn1", "layer3.layer.0.bn1", "bn1")
    expected = {name: (once.get_buffer(f"{name}.running_mean").clone(), once.get_buffer(f"{name}.running_var").clone())
                for name in shared}  # fmt: skip
    seen, doubled = once.represent(IMAGES), twice.represent(IMAGES)
    for stage, name in zip(("layer1", "layer2", "layer3"), shared, strict=True):
        for _ in range(2):
            F.batch_norm(seen.features[stage].detach(), *expected[name], training=training)
        torch.testing.assert_close(twice.get_buffer(f"{name}.running_mean"), expected[name][0])
        torch.testing.assert_close(twice.get_buffer(f"{name}.running_var"), expected[name][1])
    counts = {name: int(t) for name, t in twice.named_buffers() if name.endswith("num_batches_tracked")}
    assert {name.removesuffix(".num_batches_tracked") for name, n in counts.items() if n == 2} == (
        set(shared) if training else set()
    )
    others = [key for key in once.state_dict() if key.rpartition(".")[0] not in shared]
    assert all(torch.equal(once.state_dict()[key], twice.state_dict()[key]) for key in others)
    assert torch.equal(seen.logits, doubled.logits)
    assert all(torch.equal(t, doubled.before_relu[stage]) for stage, t in seen.before_relu.items())
    for outputs in (seen, doubled):
        (outputs.logits.square().sum() + outputs.before_relu["layer2"].square().sum()).backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(once.parameters(), twice.parameters(), strict=True))


@torch.no_grad()
def test_each_norm_decides_by_its_own_mode_whether_it_is_updated_twice():
    model = fill(WideResNet(10, 1), 7).eval()
    model.doubled_norm_updates = True
    model.layer2.train()  # as where the features are trained first
    model.represent(IMAGES)
    assert int(model.layer2.layer[0].bn1.num_batches_tracked) == 2
    assert int(model.layer2.layer[0].bn2.num_batches_tracked) == 1
    assert int(model.layer3.layer[0].bn1.num_batches_tracked) == int(model.bn1.num_batches_tracked) == 0


def test_every_parameter_learns_from_every_way_to_use_the_network():
    model = fill(WideResNet(10, 1), 7)
    model(IMAGES).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_weights_begin_as_in_the_released_code():
    torch.manual_seed(0)
    model = WideResNet(16, 2)
    for conv in (model.layer2.layer[1].conv1, model.layer3.layer[0].conv_shortcut, model.layer3.layer[1].conv2):
        size, outputs = conv.kernel_size[0], conv.out_channels
        spread = math.sqrt(2 / (size**2 * outputs))
        enough = 5 / math.sqrt(2 * conv.weight.numel())  # five standard deviations of an estimated spread
        assert conv.weight.std().item() == pytest.approx(spread, rel=enough)
        assert abs(conv.weight.mean().item()) < 5 * spread / math.sqrt(conv.weight.numel())
    assert not model.fc.bias.any()
    assert (model.bn1.weight == 1).all() and not model.bn1.bias.any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"depth": 17}, r"depth 6n \+ 4 \(10, 16, 22, …\), not 17; take 16 or 22"),
        ({"depth": 41}, "not 41; take 40 or 46"),
        ({"depth": 4}, "not 4; take 10"),
        ({"depth": -2}, "not -2; take 10"),
        ({"width": 0}, "width 1 or more, not 0; take 1 or 2"),
        ({"num_classes": 0}, "at least 1 class, not 0"),
    ],
)
def test_sizes_that_do_not_exist_are_refused_with_the_nearest(settings, words):
    with pytest.raises(UserError, match=words):
        WideResNet(**settings)


def test_other_images_than_32_by_32_are_taken_too():
    seen = WideResNet(10, 1).represent(torch.zeros(2, 3, 20, 20))
    assert seen.features["layer3"].shape == (2, 64, 5, 5)
    assert seen.logits.shape == (2, 10)
