import math

import pytest
import torch
from oracles import h
from stage_sets import channels, measured, seen

from ignite_kd.errors import UserError
from ignite_kd.heads import SP
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Features, Representation


@pytest.mark.parametrize(
    ("student", "loss", "grad"), [("S", 0.0008991744004, 0.0008410905691), ("B", 0.002365460491, 0.002222975422)]
)
def test_the_last_stage_has_the_golden_value_of_methods_7_5(student, loss, grad):
    head = SP(channels(student), channels("T"))
    assert head.pairs == [("layer3", "layer3")]
    found = measured(head, seen(student), seen("T"))
    assert found["loss"] == pytest.approx(loss, rel=2e-9)
    assert found["grad"] == pytest.approx([grad], rel=2e-9)


def similarities(rows):
    """[i][j] in plain Python."""
    gram = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]
    return [[g / math.sqrt(sum(a * a for a in row)) for g in row] for row in gram]


def test_it_is_the_sum_written_out_and_several_stages_add_up():
    maps = {"a": h((3, 2, 2, 2), 1), "b": h((3, 4), 2)}
    hints = {"a": h((3, 5, 1, 2), 3), "b": h((3, 2, 3, 3), 4)}
    expected = 0.0
    for stage in maps:
        own, shown = (similarities(x[stage].flatten(1).tolist()) for x in (maps, hints))
        expected += sum((own[i][j] - shown[i][j]) ** 2 for i in range(3) for j in range(3)) / 9
    student, teacher = (Representation(torch.zeros(3, 2), Features(x)) for x in (maps, hints))
    head = SP({"a": 2, "b": 4}, {"a": 5, "b": 2}, stages="a+b")
    assert head(student, teacher, None).item() == pytest.approx(expected, rel=1e-12)


def test_it_is_zero_where_the_teachers_maps_are_turned_and_scaled():
    maps = h((4, 6, 1, 1), 1)
    turn = torch.linalg.qr(h((6, 6), 2))[0]
    student = Representation(torch.zeros(4, 2), Features({"a": maps}))
    teacher = Representation(torch.zeros(4, 2), Features({"a": 3 * maps.flatten(1) @ turn}))
    assert SP({"a": 6}, {"a": 6})(student, teacher, None).item() == pytest.approx(0, abs=1e-20)


def test_one_image_says_nothing():
    own, shown = (Representation(torch.zeros(1, 2), Features({"a": h((1, c, 2, 2), c)})) for c in (2, 3))
    assert SP({"a": 2}, {"a": 3})(own, shown, None).item() == pytest.approx(0, abs=1e-25)


def test_an_image_that_activates_nothing_has_a_moderate_gradient():
    maps = h((3, 2, 2, 2), 1) * torch.tensor([0.0, 1.0, 1.0])[:, None, None, None]
    student = Representation(torch.zeros(3, 2), Features({"a": maps.requires_grad_()}))
    teacher = Representation(torch.zeros(3, 2), Features({"a": h((3, 2, 2, 2), 2)}))
    SP({"a": 2}, {"a": 2})(student, teacher, None).backward()
    assert maps.grad.abs().max() < 10  # a length clamped at 1e-12 would give 1e11
    assert maps.grad[1].any()


def test_bfloat16_maps_are_multiplied_in_float32():
    maps, hints = h((4, 3, 4, 4), 1).bfloat16(), h((4, 3, 4, 4), 2).bfloat16()
    losses = []
    for precision in (torch.bfloat16, torch.float64):
        given = (Representation(torch.zeros(4, 2), Features({"a": x.to(precision)})) for x in (maps, hints))
        with torch.autocast("cpu", torch.bfloat16):
            losses.append(SP({"a": 3}, {"a": 3})(*given, None))
    assert losses[0].dtype is torch.float32
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)


def test_networks_without_a_common_stage_are_compared_at_the_last_of_either():
    assert SP.for_models(MLP(8, 2), WideResNet(10, 1)).pairs == [("hidden2", "layer3")]


def test_a_stage_that_is_not_there_is_refused_in_one_line():
    with pytest.raises(UserError) as error:
        SP.for_models(WideResNet(10, 1), WideResNet(10, 1), stages="layer4")
    assert str(error.value) == "the student has no stage 'layer4'; it gives stem, layer1, layer2, layer3, pooled."
