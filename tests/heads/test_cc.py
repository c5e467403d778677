import math

import pytest
import torch
from oracles import fill, h
from pooled_sets import WIDTHS, pooled, vectors
from stage_sets import norm

from ignite_kd.errors import UserError
from ignite_kd.heads import CC
from ignite_kd.models import MLP, WideResNet


def test_consecutive_rows_have_the_golden_value_of_methods_7_6():
    student, teacher = pooled("S"), pooled("T")
    head = CC(WIDTHS["S"], WIDTHS["T"])
    for embedding, base in zip(head.embeddings, (300, 900), strict=True):
        fill(embedding, base)
    loss = head(student, teacher, None)
    loss.backward()
    assert loss.item() == pytest.approx(152.2121020, rel=2e-9)
    assert student.pooled.grad.norm().item() == pytest.approx(21.63823821, rel=2e-9)
    assert norm(p.grad for p in head.parameters()) == pytest.approx(125.0272293, rel=2e-9)
    assert all(p.grad.any() for p in head.parameters())  # the teacher's embedding learns too
    assert teacher.pooled.grad is None


def embedded(layer, rows):
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [
        [sum(w * x for w, x in zip(line, row, strict=True)) + b for line, b in zip(weight, bias, strict=True)]
        for row in rows
    ]


def test_consecutive_rows_are_the_sum_written_out():
    own, shown = h((4, 3), 1), h((4, 2), 2)
    head = CC({"pooled": 3}, {"pooled": 2}, dimension=5).double()
    assert [tuple(e.weight.shape) for e in head.embeddings] == [(5, 3), (5, 2)]
    a, b = (embedded(layer, x.tolist()) for layer, x in zip(head.embeddings, (own, shown), strict=True))
    delta = [[abs(x - y) for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]
    expected = sum(delta[n][k] * delta[n + 1][k] for n in range(3) for k in range(5)) / 3
    assert head(vectors(own), vectors(shown), None).item() == pytest.approx(expected, rel=1e-12)


def correlations(rows, gamma, order):
    """[i][j] in plain Python: the kernel's series at unit vectors."""
    lengths = [math.sqrt(sum(a * a for a in row)) for row in rows]
    rows = [[a / length for a in row] for row, length in zip(rows, lengths, strict=True)]
    series = [math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) for p in range(order + 1)]
    return [
        [sum(s * sum(a * b for a, b in zip(x, y, strict=True)) ** p for p, s in enumerate(series)) for y in rows]
        for x in rows
    ]


@pytest.mark.parametrize("options", [{}, {"gamma": 0.7, "order": 3}])
def test_the_papers_form_is_the_mean_written_out(options):
    own, shown = h((4, 3), 1), h((4, 2), 2)
    gamma, order = options.get("gamma", 0.4), options.get("order", 2)
    k_s, k_t = (correlations(x.tolist(), gamma, order) for x in (own, shown))
    expected = sum((k_s[i][j] - k_t[i][j]) ** 2 for i in range(4) for j in range(4)) / 16
    head = CC({"pooled": 3}, {"pooled": 2}, consecutive_rows=False, **options)
    assert not list(head.parameters())
    assert head(vectors(own), vectors(shown), None).item() == pytest.approx(expected, rel=1e-10)


def test_a_long_series_is_the_gaussian_kernel():
    own, shown = h((4, 3), 1), h((4, 2), 2)
    distances = [torch.cdist(x, x).square() for x in (x / x.norm(dim=1, keepdim=True) for x in (own, shown))]
    expected = ((-0.4 * distances[0]).exp() - (-0.4 * distances[1]).exp()).square().mean().item()
    head = CC({"pooled": 3}, {"pooled": 2}, consecutive_rows=False, order=20)
    assert head(vectors(own), vectors(shown), None).item() == pytest.approx(expected, rel=1e-6)


def test_the_papers_form_is_zero_where_the_teachers_vectors_are_turned_and_reordering_does_not_matter():
    own, shown = h((5, 3), 1), h((5, 3), 2)
    head = CC({"pooled": 3}, {"pooled": 3}, consecutive_rows=False)
    turn = torch.linalg.qr(h((3, 3), 2))[0]
    assert head(vectors(own), vectors(2 * own @ turn), None).item() == pytest.approx(0, abs=1e-20)
    order = torch.tensor([3, 1, 4, 0, 2])
    losses = [head(vectors(x), vectors(y), None).item() for x, y in ((own, shown), (own[order], shown[order]))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


@pytest.mark.parametrize("consecutive_rows", [True, False])
def test_one_image_says_nothing(consecutive_rows):
    head = CC({"pooled": 3}, {"pooled": 2}, consecutive_rows=consecutive_rows).double()
    own = h((1, 3), 1).requires_grad_()
    loss = head(vectors(own), vectors(h((1, 2), 2)), None)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-25)
    assert own.grad.isfinite().all()


def test_bfloat16_embeddings_are_multiplied_in_float32():
    head = CC({"pooled": 3}, {"pooled": 2})
    with torch.autocast("cpu", torch.bfloat16):
        a, b = head.embeddings[0](h((4, 3), 1).float()), head.embeddings[1](h((4, 2), 2).float())
        loss = head(vectors(h((4, 3), 1).float()), vectors(h((4, 2), 2).float()), None)
    assert a.dtype is torch.bfloat16
    delta = (a.double() - b.double()).abs()
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx((delta[:-1] * delta[1:]).sum().item() / 3, rel=1e-6)


def test_it_reads_the_pooled_vectors_of_any_two_networks():
    head = CC.for_models(MLP(8, 1), WideResNet(10, 1))
    assert [tuple(e.weight.shape) for e in head.embeddings] == [(128, 8), (128, 64)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "dimension of cc should be positive, but 0 was given."),
        ({"gamma": -0.4}, "gamma of cc should be positive, but -0.4 was given."),
        ({"order": 0}, "order of cc should be positive, but 0 was given."),
        ({"stages": ["layer1", "layer2"]}, "cc relates one stage, but 2 were given; choose one of them."),
        ({"stages": "x"}, "the student has no stage 'x'; it gives stem, layer1, layer2, layer3, pooled."),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(options, message):
    model = WideResNet(10, 1)
    with pytest.raises(UserError) as error:
        CC.for_models(model, model, **options)
    assert str(error.value) == message
