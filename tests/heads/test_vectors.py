import pytest
import torch

from ignite_kd.errors import UserError
from ignite_kd.heads.vectors import as_vectors, refuse_vectors, unit
from ignite_kd.models import MLP, WideResNet


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


@pytest.mark.parametrize(
    ("student", "teacher", "pair", "who"),
    [
        (None, None, ("pooled", "layer1"), "student's 'pooled'"),
        (None, None, ("layer1", "logits"), "teacher's 'logits'"),
        (MLP(8, 1), WideResNet(10, 1), ("hidden1", "layer1"), "student's 'hidden1'"),
        (WideResNet(10, 1), MLP(8, 1), ("layer1", "hidden1"), "teacher's 'hidden1'"),
    ],
)
def test_stages_known_to_be_vectors_are_refused(student, teacher, pair, who):
    with pytest.raises(UserError, match=f"^at compares the positions of maps, but the {who} is a vector; name"):
        refuse_vectors("at", [pair], student, teacher)


def test_stages_of_networks_without_strides_pass():
    refuse_vectors("at", [("a", "b")], torch.nn.Linear(2, 2), None)
    refuse_vectors("at", [("layer1", "stem")], WideResNet(10, 1), WideResNet(10, 1))
