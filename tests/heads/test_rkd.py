import math
from itertools import product

import pytest
import torch
from oracles import h
from pooled_sets import WIDTHS, pooled, vectors

from ignite_kd.errors import UserError
from ignite_kd.heads import RKD
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Features, Representation


@pytest.mark.parametrize(
    ("factors", "loss", "grad"),
    [
        ((25, 50), 0.4489331356, 0.6705594039),
        ((1, 0), 0.005284555568, 0.008475556294),
        ((0, 1), 0.006336384928, 0.009256843554),
    ],
)
def test_it_is_the_golden_value_of_methods_7_5(factors, loss, grad):
    student, teacher = pooled("S"), pooled("T")
    found = RKD(WIDTHS["S"], WIDTHS["T"], distance_factor=factors[0], angle_factor=factors[1])(student, teacher, None)
    found.backward()
    assert found.item() == pytest.approx(loss, rel=2e-9)
    assert student.pooled.grad.norm().item() == pytest.approx(grad, rel=2e-9)
    assert teacher.pooled.grad is None


def huber(u):
    return u * u / 2 if abs(u) < 1 else abs(u) - 0.5


def relations(rows):
    """Distances over their mean, and cosines of angles, in plain Python."""
    n = len(rows)
    edges = [[[b - a for a, b in zip(x, y, strict=True)] for y in rows] for x in rows]
    distances = [[math.sqrt(sum(d * d for d in edge)) for edge in line] for line in edges]
    mean = sum(map(sum, distances)) / (n * (n - 1))
    angles = {}
    for i, j, k in product(range(n), repeat=3):
        lengths = distances[i][j] * distances[i][k]
        dot = sum(a * b for a, b in zip(edges[i][j], edges[i][k], strict=True))
        angles[i, j, k] = dot / lengths if lengths else 0.0
    return [[d / mean for d in line] for line in distances], angles


def test_it_is_the_two_means_written_out():
    own, shown = h((6, 3), 1), h((6, 2), 2)
    own[0] += 50  # far from all
    (d_s, a_s), (d_t, a_t) = (relations(x.tolist()) for x in (own, shown))
    gaps = [d_s[i][j] - d_t[i][j] for i in range(6) for j in range(6)]
    assert max(map(abs, gaps)) > 1  # both branches of the Huber loss
    expected = 25 * sum(map(huber, gaps)) / 36 + 50 * sum(huber(a_s[key] - a_t[key]) for key in a_s) / 216
    head = RKD({"pooled": 3}, {"pooled": 2})
    assert head(vectors(own), vectors(shown), None).item() == pytest.approx(expected, rel=1e-12)


def test_it_is_zero_where_the_teachers_vectors_are_moved_turned_and_scaled():
    own = h((5, 3), 1)
    turn = torch.linalg.qr(h((3, 3), 2))[0]
    loss = RKD({"pooled": 3}, {"pooled": 3})(vectors(own), vectors(4 * own @ turn + 1), None)
    assert loss.item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coinciding_images_do_not_pull_and_the_others_do(dtype):
    own = h((5, 3), 1).to(dtype)
    own[1] = own[0]
    own = own.requires_grad_()
    RKD({"pooled": 3}, {"pooled": 3})(vectors(own), vectors(h((5, 3), 9).to(dtype)), None).backward()
    assert own.grad.isfinite().all()
    assert own.grad.norm() < 1e3
    assert own.grad.any()


@pytest.mark.parametrize("size", [1, 2])
def test_one_image_and_two_say_nothing(size):
    loss = RKD({"pooled": 3}, {"pooled": 3})(vectors(h((size, 3), 1)), vectors(h((size, 3), 2)), None)
    assert loss.item() == pytest.approx(0, abs=1e-25)


def test_maps_are_averaged_over_their_positions():
    maps, hints = h((4, 3, 2, 2), 1), h((4, 2), 2)
    student, teacher = (Representation(torch.zeros(4, 2), Features({"a": x})) for x in (maps, hints))
    expected = RKD({"pooled": 3}, {"pooled": 2})(vectors(maps.mean((2, 3))), vectors(hints), None)
    assert RKD({"a": 3}, {"a": 2}, stages="a")(student, teacher, None).item() == pytest.approx(expected.item())


def test_it_reads_the_pooled_vectors_of_any_two_networks():
    assert RKD.for_models(MLP(8, 1), WideResNet(10, 1)).pairs == [("pooled", "pooled")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance_factor": -1.0}, "distance_factor of rkd should be 0 or more, but -1.0 was given."),
        ({"angle_factor": math.nan}, "angle_factor of rkd should be 0 or more, but nan was given."),
        ({"stages": "x"}, "the student has no stage 'x'; it gives pooled."),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(options, message):
    with pytest.raises(UserError) as error:
        RKD(WIDTHS["S"], WIDTHS["T"], **options)
    assert str(error.value) == message
