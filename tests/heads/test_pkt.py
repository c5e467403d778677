import math

import pytest
import torch
from oracles import h
from pooled_sets import WIDTHS, pooled, vectors

from ignite_kd.errors import UserError
from ignite_kd.heads import PKT
from ignite_kd.models import MLP, WideResNet


def test_it_is_the_golden_value_of_methods_7_5():
    student, teacher = pooled("S"), pooled("T")
    loss = PKT(WIDTHS["S"], WIDTHS["T"])(student, teacher, None)
    loss.backward()
    assert loss.item() == pytest.approx(0.0001310687768, rel=2e-9)
    assert student.pooled.grad.norm().item() == pytest.approx(0.0001971643378, rel=2e-9)
    assert teacher.pooled.grad is None


def probabilities(rows):
    """[i][j] in plain Python."""
    rows = [[a / (math.sqrt(sum(b * b for b in row)) + 1e-7) for a in row] for row in rows]
    closeness = [[(sum(a * b for a, b in zip(x, y, strict=True)) + 1) / 2 for y in rows] for x in rows]
    return [[c / sum(line) for c in line] for line in closeness]


def test_it_is_the_mean_written_out():
    own, shown = h((4, 3), 1), h((4, 2), 2)
    q, p = (probabilities(x.tolist()) for x in (own, shown))
    cells = [(i, j) for i in range(4) for j in range(4)]
    expected = sum(p[i][j] * math.log((p[i][j] + 1e-7) / (q[i][j] + 1e-7)) for i, j in cells) / 16
    found = PKT({"pooled": 3}, {"pooled": 2})(vectors(own), vectors(shown), None)
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_it_is_zero_where_the_teachers_vectors_are_turned():
    own = h((5, 3), 1)
    turn = torch.linalg.qr(h((3, 3), 2))[0]
    loss = PKT({"pooled": 3}, {"pooled": 3})(vectors(own), vectors(own @ turn), None)
    assert loss.item() == pytest.approx(0, abs=1e-15)


def test_one_image_says_nothing():
    assert PKT({"pooled": 3}, {"pooled": 2})(vectors(h((1, 3), 1)), vectors(h((1, 2), 2)), None).item() == 0


def test_opposite_vectors_are_no_neighbours_whatever_is_rounded():
    own = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    own = torch.cat([own, -own]).requires_grad_()
    loss = PKT({"pooled": 1000}, {"pooled": 1000})(vectors(own), vectors(torch.ones(8, 1000)), None)
    loss.backward()
    assert loss.isfinite()
    assert own.grad.isfinite().all()


def test_a_zero_vector_is_as_near_to_all_as_a_right_angle_and_has_a_moderate_gradient():
    own = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    shown = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    loss = PKT({"pooled": 2}, {"pooled": 3})(vectors(own), vectors(shown), None)
    third, half = 1 / 3, 0.5  # the student's first row; the teacher's is (1, 1/2, 1/2) / 2
    own.requires_grad_()
    PKT({"pooled": 2}, {"pooled": 3})(vectors(own), vectors(shown), None).backward()
    assert own.grad.norm() < 1
    expected = (half * math.log(half / third) + 2 * half / 2 * math.log(half / 2 / third)) / 9
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_it_reads_the_pooled_vectors_of_any_two_networks():
    assert PKT.for_models(MLP(8, 1), WideResNet(10, 1)).pairs == [("pooled", "pooled")]


def test_a_stage_that_is_not_there_is_refused_in_one_line():
    with pytest.raises(UserError) as error:
        PKT(WIDTHS["S"], WIDTHS["T"], stages="pooled:x")
    assert str(error.value) == "the teacher has no stage 'x'; it gives pooled."
