import math
from types import SimpleNamespace

import pytest
import torch
from contrastive_set import INDICES, LOGITS, ROWS, golden_head, norm, pooled
from oracles import h

from ignite_kd.errors import UserError
from ignite_kd.heads import WCoRD
from ignite_kd.representation import Batch, Representation


def embedded(head):
    student, teacher = pooled(32, 4011), pooled(64, 4503)
    own, shown = head.embed(Representation(LOGITS, pooled=student), Representation(LOGITS, pooled=teacher))
    return student, own, shown


def aux(head):
    return norm(p.grad for p in head.parameters() if p.grad is not None)


def test_the_global_part_is_the_value_of_methods_7_6():
    head = golden_head(WCoRD)
    student, own, shown = embedded(head)
    loss = head.contrast(own, shown, ROWS, INDICES)
    loss.backward()
    assert loss.item() == pytest.approx(16.96654231, rel=1e-9)
    assert student.grad.norm().item() == pytest.approx(2.995550114, rel=1e-9)
    assert aux(head) == pytest.approx(19.85468226, rel=1e-9)
    assert head.log_normalisers.exp().tolist() == pytest.approx([23562.10903, 18831.92308], rel=1e-9)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epsilon": 0.1, "iterations": 20}, (1.395147514, 0.1205697358, 1.333880861)),
        ({"epsilon": 0.05, "iterations": 50}, (1.373306099, 0.1265756241, None)),
    ],
)
def test_the_local_part_is_the_value_of_methods_7_6(options, expected):
    head = golden_head(WCoRD, **options)
    student, own, shown = embedded(head)
    loss = head.transport(own, shown)
    loss.backward()
    assert (loss.item(), student.grad.norm().item()) == pytest.approx(expected[:2], rel=1e-9)
    if expected[2]:
        assert aux(head) == pytest.approx(expected[2], rel=1e-9)
        plan = head.plan((1 - own @ shown.T).detach())
        assert plan[0, 0].item() == pytest.approx(0.01189040636, rel=1e-9)


def test_the_plan_is_the_best_one_of_linear_programming_as_the_entropy_goes():
    from scipy.optimize import linear_sum_assignment

    cost = torch.rand(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plan = golden_head(WCoRD, epsilon=0.002, iterations=5000).plan(cost)
    assert torch.allclose(plan.sum(0), torch.full((6,), 1 / 6).double())
    best = linear_sum_assignment(cost.numpy())
    assert (plan * cost).sum().item() == pytest.approx(cost.numpy()[best].sum() / 6, rel=1e-3)


def test_embeddings_before_their_length_lengthen_no_difference():
    head = golden_head(WCoRD)
    weight = head.student_embedding.weight
    singular = torch.linalg.svdvals(weight).max().item()
    assert singular == pytest.approx(2.057206227, rel=1e-9)
    assert torch.linalg.svdvals(head.teacher_embedding.weight).max().item() == pytest.approx(1.689341279, rel=1e-9)
    _, own, _ = embedded(head)
    expected = pooled(32, 4011) @ (weight.T / singular) + head.student_embedding.bias
    assert torch.allclose(own, expected / expected.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("widths", [(32, 64), (5, 3)])  # wider and narrower than the embedding
def test_the_gradient_flows_through_the_largest_singular_value(widths):
    head = WCoRD(*({"pooled": width} for width in widths), samples=9, negatives=4, feature_dim=16).double()
    for layer, width in ((head.student_embedding, widths[0]), (head.teacher_embedding, widths[1])):
        x = h((6, width), 3)
        parameters = layer.weight.detach().clone().requires_grad_(), layer.weight.detach().clone().requires_grad_()
        found = golden_head(WCoRD).project(_linear(parameters[0], layer.bias), x)
        expected = x @ (parameters[1] / torch.linalg.matrix_norm(parameters[1], 2)).T + layer.bias
        assert torch.allclose(found, expected, rtol=1e-12)
        for value in (found, expected):
            (value * h(value.shape, 5)).sum().backward()
        assert torch.allclose(parameters[0].grad, parameters[1].grad, rtol=1e-9)


def test_a_matrix_of_zeros_gives_no_gradient_that_ends_the_training():
    head = WCoRD({"pooled": 4}, {"pooled": 4}, samples=9, negatives=4, feature_dim=3)
    torch.nn.init.zeros_(head.student_embedding.weight)
    seen = Representation(LOGITS, pooled=torch.randn(2, 4, generator=torch.Generator().manual_seed(0)))
    loss = head(seen, seen, Batch(LOGITS, LOGITS, torch.arange(2)))
    loss.backward()
    assert loss.isfinite()
    assert head.student_embedding.weight.grad.abs().max() < 1e3


def _linear(weight, bias):
    return SimpleNamespace(weight=weight, bias=bias.detach())


def test_the_loss_is_the_global_part_and_a_share_of_the_local_one():
    head = golden_head(WCoRD, local_factor=0.3).eval()
    head.draw.forward = lambda indices: ROWS
    student, teacher = (Representation(LOGITS, pooled=pooled(*of)) for of in ((32, 4011), (64, 4503)))
    loss = head(student, teacher, Batch(LOGITS, LOGITS, INDICES))
    assert loss.item() == pytest.approx(16.96654231 + 0.3 * 1.395147514, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"local_factor": -1}, "local_factor of wcord should be 0 or more, but -1"),
        ({"epsilon": 0.0}, "epsilon of wcord should be positive, but 0.0"),
        ({"iterations": 0}, "iterations of wcord should be 1 or more, but 0"),
        ({"temperature": math.nan}, "temperature of wcord should be positive"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, message):
    with pytest.raises(UserError, match=message):
        WCoRD({"pooled": 4}, {"pooled": 4}, samples=9, **options)


def test_weights_that_are_no_numbers_make_a_loss_that_is_none():
    head = WCoRD({"pooled": 4}, {"pooled": 4}, samples=9, negatives=4, feature_dim=3)
    torch.nn.init.constant_(head.student_embedding.weight, math.nan)
    seen = Representation(LOGITS, pooled=torch.ones(2, 4))
    assert head(seen, seen, Batch(LOGITS, LOGITS, torch.arange(2))).isnan()
