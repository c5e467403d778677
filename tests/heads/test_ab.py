import math

import pytest
import torch
from oracles import fill, h
from stage_sets import channels, measured, seen, strides
from torch import nn

from ignite_kd.errors import UserError
from ignite_kd.heads import AB
from ignite_kd.models import WideResNet
from ignite_kd.representation import Features, Representation


def head_for(student, teacher, **options):
    return AB(channels(student), channels(teacher), strides(student), strides(teacher), **options).double()


GOLDEN = {
    "D": (
        13.94692879,
        [4.603110752, 4.6532491, 4.690568938],
        [0.04154716033, 0.05907568726, 0.08387999408],
        0,
    ),
    "S": (
        18.30295003,
        [6.17560206, 6.04902332, 6.078324646],
        [0.05671323562, 0.07646680363, 0.1109747309],
        1.818756416,
    ),
    "B": (
        18.17240739,
        [6.126667619, 5.946889526, 6.09885024],
        [0.05707552107, 0.07808886582, 0.117265173],
        2.979567705,
    ),
}


@pytest.mark.parametrize("student", GOLDEN)
def test_it_has_the_golden_value_of_methods_7_5_and_7_6(student):
    loss, parts, grad, aux = GOLDEN[student]
    head = fill(head_for(student, "T"), 300)
    found = measured(head, seen(student, False), seen("T", False))
    assert found["loss"] == pytest.approx(loss, rel=2e-9)
    assert found["grad"] == pytest.approx(grad, rel=2e-9)
    assert found["aux"] == pytest.approx(aux, rel=2e-9)
    for i, part in enumerate(parts):  # alone a stage weighs 1; among three 1/4, 1/2 and 1
        alone = head_for(student, "T", stages=f"layer{i + 1}")
        alone.connectors[0].load_state_dict(head.connectors[i].state_dict())
        found = alone(seen(student, False), seen("T", False), None).item() * 2.0 ** (i - 2)
        assert found == pytest.approx(part, rel=2e-9)


def test_connectors_stand_where_widths_or_sizes_differ():
    assert [type(c) for c in head_for("D", "T").connectors] == [nn.Identity] * 3
    assert [type(c.conv) for c in head_for("S", "T").connectors] == [nn.Conv2d] * 3
    assert [type(c.conv) for c in head_for("B", "T").connectors] == [nn.ConvTranspose2d] * 3
    same_width = AB({"a": 4}, {"a": 4}, {"a": 4}, {"a": 2})
    assert type(same_width.connectors[0].conv) is nn.ConvTranspose2d
    assert not same_width.connectors[0].rectified


def distance(s, t, margin):
    """The paper's two cases."""
    if t <= 0:
        return (s + margin) ** 2 if s > -margin else 0.0
    return (s - margin) ** 2 if s <= margin else 0.0


def pre(maps):
    return Representation(torch.zeros(2, 2), before_relu=Features(maps))


@pytest.mark.parametrize("margin", [1.0, 0.25])
def test_it_is_the_sum_written_out(margin):
    shapes = {"a": (2, 2, 3), "b": (3, 1, 2)}
    maps, hints = ({s: 2 * h((2, *shape), seed) for s, shape in shapes.items()} for seed in (1, 50))
    hints["a"][0, 0, 0, 0] = 0.0
    expected = 0.0
    for weight, stage in ((0.5, "a"), (1.0, "b")):
        pairs = zip(maps[stage].flatten().tolist(), hints[stage].flatten().tolist(), strict=True)
        expected += weight * sum(distance(s, t, margin) for s, t in pairs) * 3 / 1000 / 2
    widths = {"a": 2, "b": 3}
    head = AB(widths, widths, {}, {}, margin=margin)
    assert head(pre(maps), pre(hints), None).item() == pytest.approx(expected, rel=1e-12)


def test_it_is_zero_beyond_the_margin_on_the_teachers_side():
    hint = h((2, 3, 2, 2), 1)
    maps = (1.5 * hint.sign()).requires_grad_()
    loss = AB({"a": 3}, {"a": 3}, {}, {})(pre({"a": maps}), pre({"a": hint}), None)
    loss.backward()
    assert loss.item() == 0
    assert not maps.grad.any()


def test_a_hint_that_no_connector_reaches_is_pooled():
    head = AB({"a": 3}, {"a": 3}, {"a": 16}, {"a": 4}).eval()
    maps, hint = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 8, 8)
    found = head(pre({"a": maps}), pre({"a": hint}), None)
    pooled = nn.functional.avg_pool2d(hint, 4)
    regressed = head.connectors[0](maps)
    expected = sum(distance(*p, 1.0) for p in zip(regressed.flatten().tolist(), pooled.flatten().tolist(), strict=True))
    assert found.item() == pytest.approx(expected * 3 / 1000 / 2, rel=1e-5)


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_network_without_features_before_their_rectification_is_refused_in_one_line(who):
    maps = {"a": torch.zeros(2, 3, 2, 2)}
    one = {"student": pre(maps), "teacher": pre(maps)} | {who: Representation(torch.zeros(2, 2), Features(maps))}
    with pytest.raises(UserError) as error:
        AB({"a": 3}, {"a": 3}, {}, {})(one["student"], one["teacher"], None)
    assert str(error.value) == (
        f"ab reads stages before their rectification, but the {who} gives 'a' only after it (before it: none); "
        "choose other stages, or a model with before_relu."
    )


@pytest.mark.parametrize("margin", [-1.0, math.nan])
def test_a_margin_below_zero_is_refused_in_one_line(margin):
    with pytest.raises(UserError) as error:
        AB({"a": 3}, {"a": 3}, {}, {}, margin=margin)
    assert str(error.value) == f"the margin of ab should be zero or more, but {margin} was given (usual: 1)."


@pytest.mark.parametrize("only", [True, False])
def test_its_first_stage_is_itself_on_the_features(only):
    model = WideResNet(10, 1)
    head = AB.for_models(model, WideResNet(10, 2), first_stage_only=only)
    stage = head.first_stage(model)
    assert stage.term is head
    assert stage.learner.student is model
    assert stage.learning_rate is None
    assert stage.replaces_main is only


def test_a_student_that_declares_no_features_is_refused_by_the_first_stage():
    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    with pytest.raises(UserError, match=r"^ab trains the features of the student first, but Sequential does not decl"):
        AB({"a": 3}, {"a": 3}, {}, {}).first_stage(model)
