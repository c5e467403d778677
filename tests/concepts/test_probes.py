import math

import numpy as np
import pytest
import torch
import worked_examples as example
from torch.testing import assert_close

from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.probes import closed_form_maps, gradient_energy, linear_maps
from ignite_kd.concepts.trajectory import Status
from ignite_kd.errors import UserError


def tell(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_the_energy_of_few_features_is_exact():
    found = gradient_energy(example.linear_extractor, example.linear_image(), 2)
    assert_close(found, tell(6, 23, 23, 6).view(1, 2, 2))
    found = gradient_energy(example.conv_extractor, example.conv_image(), 3)
    wanted = (1.2666754, 2.0879586, 1.6277051, 2.7441009, 1.4679783, 1.4122388, 1.7625056, 1.0109601, 0.7724178)
    assert_close(found.flatten(), tell(*wanted), rtol=0, atol=1e-7)


def test_the_energy_of_many_features_is_estimated_without_bias():
    image = example.conv_image()
    exact = gradient_energy(example.conv_extractor, image, 3)
    few = torch.cat([gradient_energy(example.conv_extractor, image, 3, probes=31, seed=s) for s in range(100)])
    error = (few.mean(0) - exact[0]) / exact[0]
    assert error.abs().max() < 0.06  # 3100 probes; one has a relative spread of about 1
    assert few.std(0).min() > 0.05


def test_probes_are_the_images_own():
    images = torch.cat([example.conv_image(), example.conv_image().flip(3), example.conv_image().flip(2)])
    together = gradient_energy(example.conv_extractor, images, 3, [5, 6, 7], probes=8, at_once=3)
    for i, seed in enumerate((5, 6, 7)):
        alone = gradient_energy(example.conv_extractor, images[i : i + 1], 3, [seed], probes=8)
        assert_close(together[i], alone[0], rtol=0, atol=1e-12)
    with pytest.raises(UserError, match="at least one probe"):
        gradient_energy(example.conv_extractor, images, 3, probes=0)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_the_linear_trajectory_of_both_examples(scale):
    maps = linear_maps(scale * tell(6, 23, 23, 6).view(1, 2, 2), Constants(grid=2))
    assert maps.steps.tolist() == [39] and maps.traces[0, 39].item() == pytest.approx(-2.799533, abs=1e-6)
    assert_close(maps.entropies.flatten(), tell(-2.694003, -2.905063, -2.905063, -2.694003), rtol=0, atol=1e-6)
    exact = gradient_energy(example.conv_extractor, example.conv_image(), 3)
    maps = linear_maps(scale * exact, Constants(grid=3))
    wanted = (-2.767741, -2.861055, -2.809475, -2.931396, -2.791148, -2.784701, -2.824771, -2.737513, -2.708824)
    assert maps.steps.tolist() == [39] and maps.traces[0, 39].item() == pytest.approx(-2.801847, abs=1e-6)
    assert_close(maps.entropies.flatten(), tell(*wanted), rtol=0, atol=1e-6)


TEN = tell(0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.6, 2.5, 3.6)
TEN_ENTROPIES = (-2.63783, -2.65398, -2.68589, -2.71727, -2.74812, -2.77843, -2.80818, -2.86600, -2.98775, -3.12080)


@pytest.mark.parametrize("grid", [10, 20, 30])
def test_ten_shares_give_the_same_map_on_every_grid(grid):
    energy = TEN.repeat(grid * grid // 10).view(1, grid, grid)
    maps = linear_maps(energy, Constants(grid=grid))
    assert maps.steps.tolist() == [38] and maps.traces[0, 38].item() == pytest.approx(-2.800425, abs=1e-6)
    assert_close(maps.entropies.flatten()[:10], tell(*TEN_ENTROPIES), rtol=0, atol=5.1e-6)
    smooth = closed_form_maps(energy, Constants(grid=grid))
    assert smooth.steps.item() == pytest.approx(38.491, abs=5e-4)
    assert (smooth.entropies - maps.entropies).abs().max().item() == pytest.approx(0.0016, abs=5e-5)


def recursion(shares, weight):
    """Entropies, step and path of section 1.3, in plain numpy: s ← s + (weight / s - 2 r s) / 256, s from 1."""
    r, s, path, means = shares.size * shares / shares.sum(), np.ones_like(shares), [], []
    for step in range(80):
        s = np.clip(s, 0.1, 100)
        path.append(np.log(0.01 * s) + 0.5 * math.log(2 * math.pi * math.e))
        means.append(path[-1].mean())
        s = s + (weight / s - 2 * r * s) / 256
        if step == 59:
            if max(means) > -2.8:
                break
            weight *= 1.5
    step = int(np.abs(np.array(means) + 2.8).argmin())
    return path[step], step, means


@pytest.mark.parametrize("weight", [7.0, 6.0, 5.0])
def test_random_maps_follow_the_recursion_and_the_closed_form_stays_near(weight):
    random = np.random.default_rng(0)
    energy = np.exp(random.uniform(0.2, 1.5, (100, 1, 1)) * random.normal(size=(100, 8, 8)))
    constants = Constants(grid=8, entropy_weight=weight)
    maps = linear_maps(torch.from_numpy(energy), constants)
    smooth = closed_form_maps(torch.from_numpy(energy), constants)
    for i, shares in enumerate(energy):
        entropies, step, means = recursion(shares, weight)
        assert maps.steps[i] == step
        assert_close(maps.entropies[i], torch.from_numpy(entropies), rtol=0, atol=1e-12)
        trace = maps.traces[i][~maps.traces[i].isnan()]
        assert_close(trace, torch.tensor(means[: len(trace)], dtype=torch.float64), rtol=0, atol=1e-12)
    apart = (maps.entropies - smooth.entropies)[maps.steps < 60].abs()
    if weight == 7:
        assert apart.mean() < 0.002 and apart.max() < 0.006 and (maps.steps < 60).all()
    elif weight == 5:
        assert (maps.steps >= 60).any()  # so that the weight has grown


def test_the_weight_of_residual_networks():
    maps = linear_maps(TEN.repeat(10).view(1, 10, 10), Constants.of("resnet50", grid=10))
    assert maps.steps.tolist() == [51] and maps.traces[0, 51].item() == pytest.approx(-2.799862, abs=1e-6)
    assert maps.entropies.flatten()[9].item() == pytest.approx(-3.18623, abs=1e-5)  # its fixed point


@pytest.mark.parametrize(("weight", "step"), [(7, 40), (6, 55)])
def test_the_steps_of_a_uniform_map(weight, step):
    maps = linear_maps(torch.ones(1, 16, 16, dtype=torch.float64), Constants(entropy_weight=weight))
    assert maps.steps.tolist() == [step]


def test_other_units_of_the_image_shift_the_entropies_and_nothing_else():
    energy = TEN.repeat(10).view(1, 10, 10)
    usual = linear_maps(energy, Constants(grid=10))
    quarter = linear_maps(energy, Constants(grid=10, first_sigma=0.0025))
    assert torch.equal(quarter.steps, usual.steps)
    assert_close(quarter.entropies, usual.entropies - tell(4).log(), rtol=0, atol=1e-12)


def test_what_never_gets_there_and_what_is_silent_are_told():
    energy = torch.stack([torch.ones(4, 4), torch.zeros(4, 4)]).double()
    weak = Constants(grid=4, entropy_weight=2.0)
    for maps in (linear_maps(energy, weak), closed_form_maps(energy, weak)):
        assert maps.status.tolist() == [Status.NEVER, Status.SILENT]
        assert maps.entropies[0].isfinite().all() and maps.entropies[1].isnan().all()
    assert linear_maps(energy, weak).traces[0].isfinite().all()  # all eighty were tried
    assert str(Status.NEVER) == "the threshold was never reached"


def test_the_weight_grows_where_sixty_steps_were_not_enough():
    """By hand: a uniform map moves by kappa (weight / s - 2 s), with the weight half as large again from step 60 on."""
    constants = Constants(grid=4, entropy_weight=5.0)
    s, path = 1.0, []
    for step in range(80):
        path.append(s)
        s += ((7.5 if step >= 60 else 5.0) / s - 2 * s) / 256
    maps = linear_maps(torch.ones(1, 4, 4, dtype=torch.float64), constants)
    first = next(step for step, value in enumerate(path) if tell(value).log() >= 0.38623165)
    assert 60 < first < 80 and maps.status.tolist() == [Status.OK]
    nearest = min(range(80), key=lambda step: abs(tell(path[step]).log().item() - 0.38623165))
    assert maps.steps.tolist() == [nearest]
    assert_close(maps.traces[0, : first + 1], tell(*path[: first + 1]).log() + constants.start, rtol=0, atol=1e-12)
