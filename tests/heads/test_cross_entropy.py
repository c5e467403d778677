import math

import pytest
import torch
from oracles import h

from ignite_kd.heads import CrossEntropy
from ignite_kd.representation import Batch, Representation

LABELS = torch.tensor([(3 * i + 1) % 10 for i in range(8)])


def batch(labels):
    return Batch(torch.zeros(len(labels), 1), labels)


def test_it_is_the_sum_written_out():
    logits = [[1.0, 0.0, -2.0], [0.3, 0.1, 0.2]]
    labels = [2, 0]
    expected = 0.0
    for z, y in zip(logits, labels, strict=True):
        expected -= math.log(math.exp(z[y]) / sum(math.exp(value) for value in z)) / len(labels)
    seen = Representation(torch.tensor(logits, dtype=torch.float64))
    assert CrossEntropy()(seen, None, batch(torch.tensor(labels))).item() == pytest.approx(expected, rel=1e-12)


def test_it_is_the_golden_value_of_methods_7_4():
    logits = (3 * h((8, 10), 71)).requires_grad_()
    loss = CrossEntropy()(Representation(logits), None, batch(LABELS))
    loss.backward()
    assert loss.item() == pytest.approx(4.211779280, rel=1e-9)
    assert logits.grad.norm().item() == pytest.approx(0.3562258044, rel=1e-9)


def test_bfloat16_logits_are_summed_in_float32():
    logits = torch.tensor([[60000.0, -60000.0, 0.0]], dtype=torch.bfloat16)
    rounded = logits.double().tolist()[0]
    loss = CrossEntropy()(Representation(logits), None, batch(torch.tensor([1])))
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(rounded[0] - rounded[1], rel=1e-6)
