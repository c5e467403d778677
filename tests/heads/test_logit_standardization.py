import math
import statistics

import pytest
import torch
from oracles import h

from ignite_kd.errors import UserError
from ignite_kd.heads import KD, LogitStandardization
from ignite_kd.representation import Representation


def softened(row, tau):
    mean, deviation = statistics.mean(row), statistics.stdev(row)  # of a sample, as released
    powers = [math.exp((z - mean) / (deviation + 1e-7) / tau) for z in row]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_it_is_the_sum_written_out(tau):
    student, teacher = [[1.0, 0.0, -2.0], [0.3, 0.1, 0.2]], [[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]]
    expected = 0.0
    for z_s, z_t in zip(student, teacher, strict=True):
        for q, p in zip(softened(z_s, tau), softened(z_t, tau), strict=True):
            expected += tau**2 * p * math.log(p / q) / len(student)
    seen = [Representation(torch.tensor(logits, dtype=torch.float64)) for logits in (student, teacher)]
    assert LogitStandardization(tau)(*seen, None).item() == pytest.approx(expected, rel=1e-12)


def test_it_is_kd_of_logits_that_are_standardised_already():
    def standardised(z):
        return (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)

    seen = [Representation(standardised(3 * h((8, 10), seed))) for seed in (71, 905)]
    assert LogitStandardization()(*seen, None).item() == pytest.approx(KD(2.0)(*seen, None).item(), rel=1e-6)


def test_it_is_zero_for_logits_of_another_mean_and_scale():
    z = 3 * h((8, 10), 71)
    loss = LogitStandardization()(Representation(7 * z + 5), Representation(z), None)
    assert loss.item() == pytest.approx(0, abs=1e-12)


def test_the_scale_of_the_students_logits_gets_no_gradient():
    z = (3 * h((8, 10), 71)).requires_grad_()
    LogitStandardization()(Representation(z), Representation(3 * h((8, 10), 905)), None).backward()
    assert z.grad.any()
    assert (z.grad * z.detach()).sum(1).tolist() == pytest.approx([0.0] * 8, abs=1e-7)
    assert z.grad.sum(1).tolist() == pytest.approx([0.0] * 8, abs=1e-12)


def test_constant_logits_are_uniform_and_have_a_moderate_gradient():
    z = torch.zeros(2, 5, requires_grad=True)
    loss = LogitStandardization()(Representation(z), Representation(h((2, 5), 9).float()), None)
    loss.backward()
    assert loss.item() > 0
    assert 0 < z.grad.norm() < 10


def test_it_is_finite_at_huge_bfloat16_logits():
    z = torch.tensor([[60000.0, -60000.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = LogitStandardization()(Representation(z), Representation(-z.detach()), None)
    loss.backward()
    assert loss.dtype is torch.float32
    p = softened([1.0, -1.0, 0.0], 2.0)
    expected = 4 * sum(a * math.log(a / b) for a, b in zip(p, [p[1], p[0], p[2]], strict=True))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_a_temperature_that_softens_nothing_is_refused_in_one_line(temperature):
    with pytest.raises(UserError) as error:
        LogitStandardization(temperature)
    assert str(error.value) == (
        f"the temperature of logit-standardization should be positive, but {temperature} was given (usual: 2 or 3)."
    )
