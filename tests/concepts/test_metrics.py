import pytest
import torch
from torch.testing import assert_close

from ignite_kd.concepts import metrics
from ignite_kd.errors import UserError

EPOCHS = [0, 2, 5, 10]


def tell(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.fixture
def found(maps, foreground):
    return metrics.concepts(maps, metrics.background_level(maps, ~foreground))


def test_the_distance_of_the_weights(distances):
    assert_close(distances, tell(0, 0.25, 0.478333, 0.792897), rtol=0, atol=5e-7)


def test_the_level_of_the_background(maps, foreground):
    level = metrics.background_level(maps, ~foreground)
    assert_close(level, tell(-2.775370, -2.889444, -3.107407, -2.993843), rtol=0, atol=5e-7)
    maps[foreground[:, None].expand(3, 4, 4, 4)] = 100.0  # the object has no part in it
    assert_close(metrics.background_level(maps, ~foreground), level)


def test_the_concepts_and_their_ratio(found, foreground):
    on, off = metrics.counts(found, foreground), metrics.counts(found, ~foreground)
    assert on.tolist() == [[0, 1, 1, 2], [0, 4, 5, 2], [0, 2, 1, 2]]
    assert off.tolist() == [[0, 2, 2, 3], [0, 0, 3, 2], [0, 1, 2, 1]]
    assert_close(metrics.ratios(on, off).double().mean(0), tell(0, 0.666667, 0.430556, 0.522222), rtol=0, atol=5e-7)


def test_the_margin_is_strict():
    assert metrics.concepts(tell(1.0, 0.75).view(1, 1, 1, 2), tell(1.0), 0.25).flatten().tolist() == [False, False]


def test_the_speed_of_learning(found, foreground, distances):
    on, off = metrics.counts(found, foreground), metrics.counts(found, ~foreground)
    assert [EPOCHS[place] for place in metrics.best_checkpoints(on)] == [10, 5, 2]  # the first of the last one's ties
    speed = metrics.learning_speed(on, distances)
    assert speed[:4] == pytest.approx((0.5070767, 0.2225667, 0.0495359, 6.991786), abs=1e-6)
    assert speed.not_moved == 0
    ground = metrics.learning_speed(off, distances)
    assert ground.mean == pytest.approx(0.5831878, abs=5e-8)
    assert (ground.variance, ground.slope) == pytest.approx((0.0219889, 4.745519), abs=1e-6)


def test_the_slip_of_the_released_code_for_residual_networks(found, foreground, distances):
    counted = metrics.counts(found, foreground)
    speed = metrics.learning_speed(counted, distances, published_slip=True, infinite_slopes=True)
    assert (speed.mean, speed.variance) == pytest.approx((0.2427778, 0.0381599), abs=5e-8)
    assert speed.slope == float("inf") and speed.not_moved == 1
    guarded = metrics.learning_speed(counted, distances, published_slip=True)
    assert guarded.slope == pytest.approx((2 / 0.478333333 + 5 / 0.25) / 2, abs=1e-6)


def test_what_stays(found, foreground):
    assert metrics.stability(found, foreground).tolist() == pytest.approx([2 / 2, 2 / 8, 2 / 5])
    assert metrics.stability(found, ~foreground).tolist() == pytest.approx([3 / 6, 2 / 4, 1 / 4])
    everywhere = torch.ones_like(foreground)
    assert metrics.stability(found, everywhere).double().mean().item() == pytest.approx(0.430556, abs=5e-7)
    assert metrics.stability(torch.zeros_like(found), everywhere).tolist() == [0, 0, 0]


def test_what_stays_of_what_came_after_the_start():
    found = torch.tensor([[[[True, False]], [[False, True]]]])
    everywhere = torch.ones(1, 1, 2, dtype=torch.bool)
    assert metrics.stability(found, everywhere).tolist() == [0.5]
    assert metrics.stability(found, everywhere, without_first=True).tolist() == [1.0]


def test_a_path_that_is_too_short_is_refused():
    with pytest.raises(UserError, match="ends at epoch 3, but epoch 5"):
        metrics.distances_at(torch.ones(3), [0, 5])
