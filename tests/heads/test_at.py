import math

import pytest
import torch
from oracles import h
from stage_sets import channels, measured, seen

from ignite_kd.errors import UserError
from ignite_kd.heads import AT
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Features, Representation

STAGES = ("layer1", "layer2", "layer3")
GOLDEN = {
    ("S", "T"): (
        0.00815708305,
        (0.001254591623, 0.002498075847, 0.004404415579),
        (0.0001095217849, 0.0004828515625, 0.001995277747),
    ),
    ("B", "T"): (
        0.0240281093,
        (0.003181660666, 0.007520862026, 0.01332558661),
        (0.0006066124427, 0.002946847044, 0.013025822),
    ),
    ("D", "B"): (
        0.01820304759,
        (0.002871063593, 0.006890595188, 0.008441388812),
        (0.0003661033942, 0.001724626081, 0.005435944794),
    ),
}


@pytest.mark.parametrize("pair", GOLDEN, ids="-".join)
def test_it_has_the_golden_values_of_methods_7_5(pair):
    loss, parts, grad = GOLDEN[pair]
    student, teacher = pair
    head = AT(channels(student), channels(teacher))
    assert head.pairs == [(stage, stage) for stage in STAGES]
    found = measured(head, seen(student), seen(teacher))
    assert found["loss"] == pytest.approx(loss, rel=2e-9)
    assert found["grad"] == pytest.approx(grad, rel=2e-9)
    for stage, part in zip(STAGES, parts, strict=True):
        head = AT(channels(student), channels(teacher), stages=stage)
        assert measured(head, seen(student), seen(teacher))["loss"] == pytest.approx(part, rel=2e-9)


def attention(image):
    """[position] in plain Python; an image is a nested list [c][position]."""
    energy = [sum(channel[x] ** 2 for channel in image) for x in range(len(image[0]))]
    length = math.sqrt(sum(e * e for e in energy))
    return [e / length for e in energy]


@pytest.mark.parametrize("variant", ["benchmark", "paper"])
def test_it_is_the_sum_written_out_though_sizes_differ(variant):
    maps, hints = h((3, 2, 2, 3), 1), h((3, 4, 4, 6), 2)
    pooled = hints.reshape(3, 4, 2, 2, 3, 2).mean((3, 5))
    expected = 0.0
    for own, shown in zip(maps.flatten(2).tolist(), pooled.flatten(2).tolist(), strict=True):
        squares = sum((a - b) ** 2 for a, b in zip(attention(own), attention(shown), strict=True))
        expected += squares / (3 * 6) if variant == "benchmark" else math.sqrt(squares) / 2 / 3
    student, teacher = (Representation(torch.zeros(3, 2), Features({"a": x})) for x in (maps, hints))
    head = AT({"a": 2}, {"a": 4}, variant=variant)
    assert head(student, teacher, None).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("variant", ["benchmark", "paper"])
def test_it_is_zero_with_a_finite_gradient_for_the_same_maps_at_any_scale_and_order_of_channels(variant):
    student = seen("S")
    same = Features({stage: 3 * x.detach().flip(1) for stage, x in student.features.items()})
    loss = AT(channels("S"), channels("S"), variant=variant)(student, Representation(student.logits, same), None)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-15)
    assert all(x.grad is None or x.grad.isfinite().all() for x in student.features.values())


def test_an_image_that_activates_nothing_has_no_gradient():
    maps = h((2, 3, 2, 2), 1) * torch.tensor([0.0, 1.0])[:, None, None, None]
    student = Representation(torch.zeros(2, 2), Features({"a": maps.requires_grad_()}))
    teacher = Representation(torch.zeros(2, 2), Features({"a": h((2, 3, 2, 2), 2)}))
    AT({"a": 3}, {"a": 3})(student, teacher, None).backward()
    assert not maps.grad[0].any()
    assert maps.grad[1].any()


@pytest.mark.parametrize(
    ("student", "teacher", "options", "message"),
    [
        (
            WideResNet(10, 1),
            WideResNet(10, 2),
            {"variant": "released"},
            "the variant of at should be benchmark or paper, but 'released' was given.",
        ),
        (
            MLP(8, 1),
            WideResNet(10, 1),
            {},
            "at compares the positions of maps, but the student's 'pooled' is a vector; "
            "name stages that are maps, or take a method that needs none (kd, rkd, sp).",
        ),
        (
            WideResNet(10, 1),
            MLP(8, 1),
            {"stages": "layer1:hidden1"},
            "at compares the positions of maps, but the teacher's 'hidden1' is a vector; "
            "name stages that are maps, or take a method that needs none (kd, rkd, sp).",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(student, teacher, options, message):
    with pytest.raises(UserError) as error:
        AT.for_models(student, teacher, **options)
    assert str(error.value) == message
