import math

import pytest
import torch
from oracles import h

from ignite_kd.errors import UserError
from ignite_kd.heads import KD
from ignite_kd.representation import Representation


def softened(logits, tau):
    powers = [math.exp(z / tau) for z in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("tau", [1.0, 2.5, 4.0])
def test_it_is_the_papers_sum_written_out(tau):
    student, teacher = [[1.0, 0.0, -2.0], [0.3, 0.1, 0.2]], [[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]]
    expected = 0.0
    for z_s, z_t in zip(student, teacher, strict=True):
        for q, p in zip(softened(z_s, tau), softened(z_t, tau), strict=True):
            expected += tau**2 * p * math.log(p / q) / len(student)
    seen = [Representation(torch.tensor(logits, dtype=torch.float64)) for logits in (student, teacher)]
    assert KD(tau)(*seen, None).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("tau", "expected", "gradient"),
    [(4, 4.047369765, 0.3089307237), (2, 3.494567886, 0.2733211182), (1, 2.433027492, 0.2067921992)],
)
def test_it_is_the_golden_value_of_methods_7_4(tau, expected, gradient):
    logits = (3 * h((8, 10), 71)).requires_grad_()
    loss = KD(tau)(Representation(logits), Representation(3 * h((8, 10), 905)), None)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert logits.grad.norm().item() == pytest.approx(gradient, rel=1e-9)


def test_it_is_zero_where_both_say_the_same_up_to_a_constant():
    logits = 3 * h((4, 10), 71)
    assert KD()(Representation(logits + 5.0), Representation(logits), None).item() == pytest.approx(0, abs=1e-14)


def test_a_class_that_the_teacher_excludes_counts_nothing():
    student, teacher = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[0.0, -2000.0]], dtype=torch.float64)
    assert KD(1.0)(Representation(student), Representation(teacher), None).item() == pytest.approx(math.log(2))


def test_it_is_finite_at_huge_bfloat16_logits():
    student = torch.tensor([[60000.0, -60000.0]], dtype=torch.bfloat16)
    loss = KD(4.0)(Representation(student), Representation(-student), None)
    assert loss.dtype is torch.float32
    # all of the teacher's weight lies on a class whose log-probability is -(z - -z) / tau
    assert loss.item() == pytest.approx(16 * 2 * student[0, 0].double().item() / 4, rel=1e-6)


@pytest.mark.parametrize("halved", ["student", "teacher"])
def test_bfloat16_logits_of_either_side_are_softened_in_float32(halved):
    logits = {"student": 3 * h((8, 10), 71).float(), "teacher": 3 * h((8, 10), 905).float()}
    logits[halved] = logits[halved].bfloat16()
    loss = KD()(Representation(logits["student"]), Representation(logits["teacher"]), None)
    expected = KD()(*(Representation(each.double()) for each in logits.values()), None)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_a_temperature_that_softens_nothing_is_refused_in_one_line(temperature):
    with pytest.raises(UserError) as error:
        KD(temperature)
    assert (
        str(error.value) == f"the temperature of kd should be positive, but {temperature} was given (usual: 1 to 20)."
    )
