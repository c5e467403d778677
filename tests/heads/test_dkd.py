import math

import pytest
import torch
from pooled_sets import logits

from ignite_kd.errors import UserError
from ignite_kd.heads import DKD, KD
from ignite_kd.representation import Batch, Representation


@pytest.mark.parametrize(
    ("alpha", "beta", "loss", "gradient"),
    [
        (1, 8, 31.20721977, 2.526821553),
        (1, 0, 0.5948075792, 0.1155691396),
        (0, 1, 3.826551524, 0.3152432911),
        (1, 2, 8.247910628, 0.6431826869),
    ],
)
def test_it_is_the_golden_value_of_methods_7_4(alpha, beta, loss, gradient):
    assert logits(DKD(alpha, beta)) == pytest.approx((loss, gradient), rel=2e-9)


def test_its_defaults_are_those_of_the_benchmark():
    head = DKD()
    assert (head.alpha, head.beta, head.temperature) == (1, 8, 4)


def softened(row, tau):
    powers = [math.exp(z / tau) for z in row]
    return [power / sum(powers) for power in powers]


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def given(student, teacher, labels):
    batch = Batch(torch.zeros(len(labels)), torch.tensor(labels))
    return *(Representation(torch.tensor(x, dtype=torch.float64)) for x in (student, teacher)), batch


STUDENT, TEACHER, LABELS = [[1.0, 0.0, -2.0], [0.3, 0.1, 0.2]], [[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], [0, 2]


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_it_is_the_papers_sum_written_out(tau):
    expected = 0.0
    for z_s, z_t, y in zip(STUDENT, TEACHER, LABELS, strict=True):
        q, p = softened(z_s, tau), softened(z_t, tau)
        expected += 0.7 * divergence([p[y], 1 - p[y]], [q[y], 1 - q[y]]) * tau**2 / 2
        others = ([x / (1 - row[y]) for k, x in enumerate(row) if k != y] for row in (p, q))
        expected += 1.3 * divergence(*others) * tau**2 / 2
    found = DKD(0.7, 1.3, tau)(*given(STUDENT, TEACHER, LABELS))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_weighted_by_what_the_teacher_gives_the_other_classes_it_is_kd():
    student, teacher, batch = given(STUDENT[:1], TEACHER[:1], LABELS[:1])
    rest = 1 - softened(TEACHER[0], 4.0)[LABELS[0]]
    expected = KD(4.0)(student, teacher, batch).item()
    assert DKD(1, rest, 4.0)(student, teacher, batch).item() == pytest.approx(expected, rel=1e-12)


def test_it_is_zero_where_both_say_the_same_up_to_a_constant():
    student, teacher, batch = given(STUDENT, [[z + 5 for z in row] for row in STUDENT], LABELS)
    assert DKD()(student, teacher, batch).item() == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_it_is_finite_at_huge_bfloat16_logits(label):
    student = torch.tensor([[60000.0, -60000.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    batch = Batch(torch.zeros(1), torch.tensor([label]))
    loss = DKD()(Representation(student), Representation(-student.detach()), batch)
    loss.backward()
    assert loss.dtype is torch.float32
    assert loss.isfinite()
    assert loss > 1e4
    assert student.grad.isfinite().all()


def test_two_classes_have_no_others_to_tell_apart():
    assert DKD(0, 1)(*given([[1.0, 0.0]], [[0.0, 3.0]], [1])).item() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha of dkd should be 0 or more, but -1.0 was given."),
        ({"beta": math.nan}, "beta of dkd should be 0 or more, but nan was given."),
        ({"temperature": 0}, "the temperature of dkd should be positive, but 0 was given (usual: 1 to 4)."),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(options, message):
    with pytest.raises(UserError) as error:
        DKD(**options)
    assert str(error.value) == message
