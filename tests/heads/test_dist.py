import math

import pytest
import torch
from oracles import h
from pooled_sets import logits

from ignite_kd.errors import UserError
from ignite_kd.heads import DIST
from ignite_kd.representation import Representation


@pytest.mark.parametrize(
    ("beta", "gamma", "tau", "loss", "gradient"),
    [
        (1, 1, 1, 2.097625722, 0.1865931596),
        (1, 0, 1, 0.9766176792, 0.1337944173),
        (0, 1, 1, 1.121008043, 0.07534467941),
        (1, 1, 4, 34.05061646, 1.829913611),
        (1, 0, 4, 15.64474346, 1.036001234),
        (0, 1, 4, 18.405873, 0.9501108058),
    ],
)
def test_it_is_the_golden_value_of_methods_7_4(beta, gamma, tau, loss, gradient):
    assert logits(DIST(beta, gamma, tau)) == pytest.approx((loss, gradient), rel=2e-9)


def test_its_defaults_are_those_of_cifar():
    head = DIST()
    assert (head.beta, head.gamma, head.temperature) == (1, 1, 4)


def softened(row, tau):
    powers = [math.exp(z / tau) for z in row]
    return [power / sum(powers) for power in powers]


def pearson(a, b):
    a, b = ([x - sum(y) / len(y) for x in y] for y in (a, b))
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / (lengths + 1e-8)


def test_it_is_the_papers_sum_written_out():
    student, teacher, tau = (3 * h((3, 4), 1)).tolist(), (3 * h((3, 4), 2)).tolist(), 2.5
    p, q = ([softened(row, tau) for row in rows] for rows in (student, teacher))
    inter = 1 - sum(pearson(a, b) for a, b in zip(p, q, strict=True)) / 3
    intra = 1 - sum(pearson(a, b) for a, b in zip(zip(*p, strict=True), zip(*q, strict=True), strict=True)) / 4
    given = (Representation(torch.tensor(x, dtype=torch.float64)) for x in (student, teacher))
    assert DIST(0.7, 1.3, tau)(*given, None).item() == pytest.approx(tau**2 * (0.7 * inter + 1.3 * intra), rel=1e-12)


def test_it_is_zero_where_both_say_the_same_but_for_the_small_number_in_the_denominator():
    z = 3 * h((8, 10), 71)
    loss = DIST(temperature=1.0)(Representation(z + 5), Representation(z), None)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert loss.item() > 0


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_the_correlations_of_one_image_over_images_are_zero(tau):
    z = (3 * h((1, 10), 71)).requires_grad_()
    loss = DIST(0, 1, tau)(Representation(z), Representation(3 * h((1, 10), 905)), None)
    loss.backward()
    assert loss.item() == tau**2
    assert not z.grad.any()


def test_constant_probabilities_do_not_correlate_and_are_pulled_moderately_to_the_teachers():
    z = torch.zeros(4, 5, requires_grad=True)
    teacher = h((4, 5), 9).float()
    loss = DIST(temperature=1.0)(Representation(z), Representation(teacher), None)
    loss.backward()
    assert loss.item() == 2
    assert 0 < z.grad.norm() < 1
    assert ((teacher.softmax(1) - 0.2) * z.grad).sum() < 0


def test_equal_images_are_pulled_moderately_where_the_teacher_tells_them_apart():
    z = h((1, 10), 71).float().expand(7, 10).clone().requires_grad_()
    DIST(0, 1)(Representation(z), Representation(3 * h((7, 10), 905).float()), None).backward()
    assert 0 < z.grad.norm() < 1  # of rounded differences: 1e4 and more


def test_it_is_finite_at_huge_bfloat16_logits():
    z = torch.tensor([[60000.0, -60000.0, 0.0], [0.0, 60000.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = DIST()(Representation(z), Representation(-z.detach()), None)
    loss.backward()
    assert loss.dtype is torch.float32
    assert loss.isfinite()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": -1.0}, "beta of dist should be 0 or more, but -1.0 was given."),
        ({"gamma": math.nan}, "gamma of dist should be 0 or more, but nan was given."),
        ({"temperature": -2}, "the temperature of dist should be positive, but -2 was given (usual: 1 or 4)."),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(options, message):
    with pytest.raises(UserError) as error:
        DIST(**options)
    assert str(error.value) == message
