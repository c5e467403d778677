import math

import pytest
import torch
import torch.nn.functional as F
from oracles import fill, h
from scipy import stats
from stage_sets import channels, measured, seen
from torch import nn

from ignite_kd.errors import UserError
from ignite_kd.heads import OFD
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Features, Representation

NORMS = {
    f"layer{i + 1}": (1 + 0.2 * h((c,), 2000 + 1000 * i), 0.6 * h((c,), 2700 + 1000 * i))
    for i, c in enumerate((16, 32, 64))
}


def margins(head):
    return [head.get_buffer(f"margin{i}") for i in range(len(head.pairs))]


@pytest.mark.parametrize(
    ("student", "loss", "parts", "grad", "aux"),
    [
        (
            "S",
            4.176750003,
            [1.353150073, 1.424946243, 1.398653686],
            [0.01231388275, 0.01857735658, 0.02544188002],
            0.5922524391,
        ),
        (
            "B",
            0.755898253,
            [0.2443804473, 0.2556977238, 0.2558200819],
            [0.004219149706, 0.006477822137, 0.009021343221],
            0.1463848861,
        ),
    ],
)
def test_it_has_the_golden_value_of_methods_7_6(student, loss, parts, grad, aux):
    head = OFD(channels(student), channels("T"), NORMS)
    fill(head.connectors, 300)
    found = measured(head, seen(student, False), seen("T", False))
    assert found["loss"] == pytest.approx(loss, rel=2e-9)
    assert found["grad"] == pytest.approx(grad, rel=2e-9)
    assert found["aux"] == pytest.approx(aux, rel=2e-9)
    for i, part in enumerate(parts):  # alone a stage weighs 1; among three 1/4, 1/2 and 1
        alone = OFD(channels(student), channels("T"), NORMS, stages=f"layer{i + 1}").double()
        alone.connectors[0].load_state_dict(head.connectors[i].state_dict())
        found = alone(seen(student, False), seen("T", False), None).item() * 2.0 ** (i - 2)
        assert found == pytest.approx(part, rel=2e-9)


def test_the_margins_are_the_golden_ones_of_methods_7_6():
    found = margins(OFD(channels("S"), channels("T"), NORMS))
    assert [m.sum().item() for m in found] == pytest.approx([-12.71441223, -27.32465891, -51.35059356], rel=1e-9)
    assert found[0].flatten()[:3].tolist() == pytest.approx([-0.6860853667, -0.6853445912, -0.7373959924], rel=1e-9)
    assert [tuple(m.shape) for m in found] == [(16, 1, 1), (32, 1, 1), (64, 1, 1)]


def margin_of(scale, shift):
    scale, shift = (torch.tensor([x], dtype=torch.float64) for x in (scale, shift))
    return margins(OFD({"a": 1}, {"a": 1}, {"a": (scale, shift)}))[0].item()


@pytest.mark.parametrize("scale", [0.3, -0.3, 2.0])
@pytest.mark.parametrize("shift", [-40.0, -1.0, 0.0, 0.5, 0.9])
def test_a_margin_is_the_mean_of_what_is_negative(scale, shift):
    expected = stats.truncnorm.mean(-math.inf, -shift / abs(scale), shift, abs(scale))
    assert margin_of(scale, shift) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("shift", "mean"), [(3.09, True), (3.10, False), (1e6, False)])
def test_it_is_three_deviations_where_less_than_a_thousandth_is_negative(shift, mean):
    expected = stats.truncnorm.mean(-math.inf, -shift, shift, 1) if mean else -3
    assert margin_of(1.0, shift) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("shift", "margin"), [(-0.7, -0.7), (0.0, 0.0), (0.7, 0.0)])
def test_a_scale_of_zero_has_the_limit(shift, margin):
    assert margin_of(0.0, shift) == margin
    if shift:
        assert margin_of(1e-9, shift) == pytest.approx(margin, abs=1e-8)


def pre(maps):
    return Representation(torch.zeros(2, 2), before_relu=Features(maps))


def head_for(widths, norms):
    return OFD(widths, {stage: len(norm[0]) for stage, norm in norms.items()}, norms).double()


def test_it_is_the_sum_written_out():
    norms = {"a": (1 + h((2,), 5), h((2,), 9)), "b": (1 + h((3,), 6), h((3,), 8))}
    head = head_for({"a": 3, "b": 2}, norms)
    maps = {"a": h((2, 3, 2, 2), 1), "b": h((2, 2, 1, 2), 2)}
    hints = {"a": 2 * h((2, 2, 2, 2), 30), "b": 2 * h((2, 3, 1, 2), 60)}
    expected, skipped = 0.0, 0
    for weight, stage, connector, margin in zip((0.5, 1), "ab", head.connectors, margins(head), strict=True):
        own, shown = connector(maps[stage]).flatten(2).tolist(), hints[stage].flatten(2).tolist()
        for n in range(2):
            for c, m in enumerate(margin.flatten().tolist()):
                for s, t in zip(own[n][c], shown[n][c], strict=True):
                    t = max(t, m)
                    if s > t or t > 0:
                        expected += weight * (s - t) ** 2 / 1000 / 2
                    else:
                        skipped += 1
    assert skipped
    assert head(pre(maps), pre(hints), None).item() == pytest.approx(expected, rel=1e-10)


def test_it_is_zero_where_the_student_is_below_a_negative_teacher():
    norms = {"a": (torch.ones(2), torch.zeros(2))}
    head = head_for({"a": 2}, norms)
    head.connectors[0] = nn.Identity()
    maps, hint = torch.full((2, 2, 1, 2), -1.0), torch.full((2, 2, 1, 2), -0.5)
    assert head(pre({"a": maps}), pre({"a": hint}), None).item() == 0
    assert head(pre({"a": hint + 0.1}), pre({"a": hint}), None).item() == pytest.approx(4e-5)  # 4 × 0.1² / 1000
    # below the margin of -0.798 the teacher counts as the margin
    margin = margins(head)[0][0].item()
    assert head(pre({"a": maps + 0.5}), pre({"a": maps - 9}), None).item() == pytest.approx(4e-3 * (-0.5 - margin) ** 2)


@pytest.mark.parametrize(("size", "target"), [(4, 2), (2, 4)])
def test_the_larger_map_is_pooled(size, target):
    head = head_for({"a": 3}, {"a": (torch.ones(2), torch.zeros(2))})
    maps, hint = h((2, 3, size, size), 1), h((2, 2, target, target), 2)
    pooled = [F.avg_pool2d(x, x.shape[2] // 2) for x in (maps, hint)]
    expected = head(pre({"a": pooled[0]}), pre({"a": pooled[1]}), None)
    assert head(pre({"a": maps}), pre({"a": hint}), None).item() == pytest.approx(expected.item(), rel=1e-12)


def test_connectors_are_convolutions_of_one_pixel_without_bias_and_batch_norms():
    torch.manual_seed(0)
    head = OFD.for_models(WideResNet(10, 2), WideResNet(10, 4))
    assert [c[0].weight.shape for c in head.connectors] == [(64, 32, 1, 1), (128, 64, 1, 1), (256, 128, 1, 1)]
    assert all(c[0].bias is None and isinstance(c[1], nn.BatchNorm2d) for c in head.connectors)
    for c in head.connectors:
        assert c[0].weight.std().item() == pytest.approx(math.sqrt(2 / c[0].out_channels), rel=0.05)


def test_the_margins_are_those_of_the_batch_norms_that_the_teacher_declares():
    teacher = fill(WideResNet(10, 1), 7)
    head = OFD.for_models(WideResNet(10, 1), teacher)
    by_hand = [teacher.layer2.layer[0].bn1, teacher.layer3.layer[0].bn1, teacher.bn1]
    for norm, margin in zip(by_hand, margins(head), strict=True):
        expected = [margin_of(*pair) for pair in zip(norm.weight.tolist(), norm.bias.tolist(), strict=True)]
        assert margin.flatten().tolist() == pytest.approx(expected, rel=1e-12)
    assert not any(m.requires_grad for m in margins(head))
    assert {"margin0", "margin1", "margin2"} <= set(head.state_dict())


@pytest.mark.parametrize(
    ("norms", "stages", "place"),
    [
        ({}, None, "'layer1' (it does of: none)"),
        ({"layer3": "bn1"}, "layer3+layer2", "'layer2' (it does of: layer3)"),
        ({"layer2": "bn1"}, "layer2", "'layer2' (it does of: layer2)"),  # of another width
        ({"layer3": "fc"}, "pooled", "'pooled' (it does of: layer3)"),
    ],
)
def test_a_teacher_without_a_batch_norm_there_is_refused_in_one_line(norms, stages, place):
    teacher = WideResNet(10, 1)
    teacher.norms = norms
    with pytest.raises(UserError) as error:
        OFD.for_models(WideResNet(10, 1), teacher, stages=stages)
    assert str(error.value) == (
        "ofd takes its margins from the teacher's batch norms, but the teacher declares none of the right width before "
        f"the rectification of {place}; choose stages out of these, or another teacher."
    )


def test_a_teacher_that_declares_no_norms_at_all_is_refused():
    teacher = nn.Module()
    teacher.channels = {"a": 3}
    student = nn.Module()
    student.channels = {"a": 3}
    with pytest.raises(UserError, match=r"of 'a' \(it does of: none\)"):
        OFD.for_models(student, teacher)


def test_a_perceptron_teaches_another_one_its_vectors():
    student, teacher = MLP(8, 1), MLP(12, 1)
    head = OFD.for_models(student, teacher)
    images = h((4, 3, 32, 32), 1).float()
    loss = head(student.represent(images), teacher.represent(images), None)
    assert loss.isfinite() and loss > 0


def test_a_student_without_features_before_their_rectification_is_refused_in_one_line():
    head = head_for({"a": 3}, {"a": (torch.ones(2), torch.zeros(2))})
    student = Representation(torch.zeros(2, 2), Features({"a": torch.zeros(2, 3, 2, 2)}))
    with pytest.raises(
        UserError, match=r"^ofd reads stages before their rectification, but the student gives 'a' only"
    ):
        head(student, pre({"a": torch.zeros(2, 2, 2, 2)}), None)
