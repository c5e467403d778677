import math

import pytest
import torch
from oracles import h
from stage_sets import channels, measured, seen

from ignite_kd.errors import UserError
from ignite_kd.heads import NST
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Features, Representation

STAGES = ("layer1", "layer2", "layer3")
GOLDEN = {
    ("S", "T"): (
        0.2663471266,
        (0.1579556453, 0.07503055781, 0.03336092351),
        (0.008317387046, 0.00818728031, 0.009087114355),
    ),
    ("B", "T"): (
        0.5423093347,
        (0.2077436871, 0.165837747, 0.1687279005),
        (0.02177781546, 0.06569062788, 1.164175959),
    ),
    ("D", "B"): (
        0.5465412536,
        (0.2039756373, 0.1653913349, 0.1771742815),
        (0.0116168369, 0.01582611782, 0.02882069364),
    ),
}


@pytest.mark.parametrize("pair", GOLDEN, ids="-".join)
def test_it_has_the_golden_values_of_methods_7_5(pair):
    loss, parts, grad = GOLDEN[pair]
    student, teacher = pair
    head = NST(channels(student), channels(teacher))
    assert head.pairs == [(stage, stage) for stage in STAGES]
    found = measured(head, seen(student), seen(teacher))
    assert found["loss"] == pytest.approx(loss, rel=2e-9)
    assert found["grad"] == pytest.approx(grad, rel=2e-9)
    for stage, part in zip(STAGES, parts, strict=True):
        head = NST(channels(student), channels(teacher), stages=stage)
        assert measured(head, seen(student), seen(teacher))["loss"] == pytest.approx(part, rel=2e-9)


def kernel(image, other):
    """The mean of <u, v>² over all pairs of channels of two images, [c][position], in plain Python."""
    total = 0.0
    for u in image:
        for v in other:
            product = sum(a * b for a, b in zip(u, v, strict=True))
            lengths = math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v))
            total += (product / lengths) ** 2 / (len(image) * len(other))
    return total


@pytest.mark.parametrize("shape", [(1, 2), (4, 3)], ids=["products of positions", "products of channels"])
def test_it_is_the_sum_written_out_by_either_form(shape):
    maps, hints = h((2, 3, *shape), 1), h((2, 4, *shape), 2)
    expected = 0.0
    for own, shown in zip(maps.flatten(2).tolist(), hints.flatten(2).tolist(), strict=True):
        expected += (kernel(own, own) + kernel(shown, shown) - 2 * kernel(own, shown)) / 2
    student, teacher = (Representation(torch.zeros(2, 2), Features({"a": x})) for x in (maps, hints))
    assert NST({"a": 3}, {"a": 4})(student, teacher, None).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 2), (4, 3)], ids=["products of positions", "products of channels"])
def test_it_is_zero_for_the_same_channels_at_any_scale_and_order(shape):
    maps = h((2, 3, *shape), 1)
    student, teacher = (Representation(torch.zeros(2, 2), Features({"a": x})) for x in (maps, 5 * maps.flip(1)))
    assert NST({"a": 3}, {"a": 3})(student, teacher, None).item() == pytest.approx(0, abs=1e-14)


def test_a_dead_channel_has_no_gradient():
    maps = h((2, 3, 2, 2), 1) * torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    student = Representation(torch.zeros(2, 2), Features({"a": maps.requires_grad_()}))
    teacher = Representation(torch.zeros(2, 2), Features({"a": h((2, 4, 2, 2), 2)}))
    NST({"a": 3}, {"a": 4})(student, teacher, None).backward()
    assert not maps.grad[:, 1].any()
    assert maps.grad[:, 0].any() and maps.grad[:, 2].any()


def test_bfloat16_maps_are_multiplied_in_float32():
    maps, hints = h((2, 3, 2, 2), 1).bfloat16(), h((2, 4, 2, 2), 2).bfloat16()
    losses = []
    for precision in (torch.bfloat16, torch.float64):
        given = (
            Representation(torch.zeros(2, 2), Features({"a": maps.to(precision)})),
            Representation(torch.zeros(2, 2), Features({"a": hints.to(precision)})),
        )
        with torch.autocast("cpu", torch.bfloat16):
            losses.append(NST({"a": 3}, {"a": 4})(*given, None))
    assert losses[0].dtype is torch.float32
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)


def test_vectors_are_refused_in_one_line():
    with pytest.raises(UserError) as error:
        NST.for_models(MLP(8, 1), WideResNet(10, 1))
    assert str(error.value) == (
        "nst compares the positions of maps, but the student's 'pooled' is a vector; "
        "name stages that are maps, or take a method that needs none (kd, rkd, sp)."
    )
