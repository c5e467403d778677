import pytest
import torch

from ignite_kd.heads.vectors import as_vectors, energy, unit


def test_unit_vectors_have_length_one_and_the_direction_they_had():
    assert unit(torch.tensor([[3.0, -4.0]])).tolist() == [[pytest.approx(0.6), pytest.approx(-0.8)]]
    assert unit(torch.tensor([[3.0], [4.0]]), dim=0).flatten().tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("length", [0.0, 9e-13])
def test_what_has_no_length_is_zero_and_without_a_gradient(length):
    x = torch.tensor([[length, 0.0], [1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    (unit(x) * torch.tensor([1.0, 2.0])).sum().backward()
    assert unit(x)[0].tolist() == [0, 0]
    assert x.grad[0].tolist() == [0, 0]
    assert x.grad[1].any()


def test_just_above_that_the_length_is_one():
    assert unit(torch.tensor([[1.1e-12]], dtype=torch.float64)).item() == pytest.approx(1)


def test_maps_become_their_means_and_half_precision_float32():
    maps = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert as_vectors(maps).tolist() == [[1.5, 5.5]]
    assert as_vectors(maps.bfloat16()).dtype is torch.float32
    vectors = torch.zeros(2, 3, dtype=torch.float64)
    assert as_vectors(vectors) is vectors


def test_the_energy_of_a_map_is_where_its_squares_are():
    maps = torch.tensor([[[[3.0, 0.0]], [[1.0, 2.0]]]])  # squares over the channels: 10 and 4
    assert energy(maps).tolist() == [pytest.approx([10 / 116**0.5, 4 / 116**0.5])]
    faint = torch.full((1, 1, 2, 2), 1e-8, requires_grad=True)
    energy(faint).sum().backward()
    assert not faint.grad.any()
