import math

import numpy as np
import pytest
import torch

from ignite_kd.comparison.agreement import agreement


def test_each_number_is_its_definition_written_out():
    own = [[2.0, 0.5, -1.0], [0.1, 0.3, 0.2], [-1.0, 3.0, 2.5], [5.0, 4.0, 4.5]]
    shown = [[1.0, 0.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, 4.0], [3.0, 1.0, 2.0]]
    labels = [0, 1, 1, 2]  # the teacher says 0, 0, 2, 0 and the network 0, 1, 1, 0
    found = agreement(torch.tensor(own), torch.tensor(shown), torch.tensor(labels))
    assert found.same == 2 / 4
    assert found.wrong == 3 / 4
    assert found.same_where_wrong == pytest.approx(1 / 3)

    divergence = 0.0
    for z_s, z_t in zip(own, shown, strict=True):
        q, p = ([math.exp(z) / sum(map(math.exp, row)) for z in row] for row in (z_s, z_t))
        divergence += sum(b * math.log(b / a) for a, b in zip(q, p, strict=True)) / 4
    assert found.divergence == pytest.approx(divergence, rel=1e-6)

    centred = [(np.array(z) - np.mean(z, axis=1, keepdims=True)).ravel() for z in (own, shown)]
    assert found.correlation == pytest.approx(np.corrcoef(*centred)[0, 1], rel=1e-6)


def test_what_a_softmax_does_not_see_is_not_counted():
    torch.manual_seed(0)
    teacher = torch.randn(20, 5, dtype=torch.float64)
    found = agreement(teacher + 7 * torch.randn(20, 1, dtype=torch.float64), teacher, teacher.argmin(1))
    assert (found.same, found.same_where_wrong) == (1, 1)
    assert found.divergence == pytest.approx(0, abs=1e-12)
    assert found.correlation == pytest.approx(1, abs=1e-12)


def test_a_teacher_that_is_never_wrong_leaves_no_image_to_agree_on():
    teacher = torch.eye(3)
    assert math.isnan(agreement(teacher, teacher, torch.arange(3)).same_where_wrong)
