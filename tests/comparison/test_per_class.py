import math

import torch

from ignite_kd.comparison.per_class import accuracy_by_class


def test_each_class_is_counted_alone():
    says = torch.tensor([0, 0, 1, 2, 1, 1])
    found = accuracy_by_class(torch.eye(4)[says], torch.tensor([0, 1, 1, 2, 1, 0]))
    assert found[:3] == [1 / 2, 2 / 3, 1]
    assert math.isnan(found[3])
