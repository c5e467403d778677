import pytest
import torch
import worked_examples as example
from torch.testing import assert_close

from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.discarding import normal_noise, sampled_maps
from ignite_kd.concepts.trajectory import Status, descend
from ignite_kd.errors import UserError

TINY = Constants(grid=2, samples=4)
EXACT = {"rtol": 1e-6, "atol": 0}


@pytest.fixture
def steps(monkeypatch):
    """(F, P, sigma, gradient of the loss) of each step, as the optimiser saw them."""
    seen = []

    def watched(pull, silent, constants, dtype, early_stop):
        def telling(sigma, which, step):
            disturbance, slope = pull(sigma, which, step)
            pressure = constants.entropy_weight if step < constants.check_after else 1.5 * constants.entropy_weight
            gradient = slope - pressure / (constants.cells * sigma)
            seen.append((disturbance.clone(), sigma.flatten().clone(), gradient.flatten()))
            return disturbance, slope

        return descend(telling, silent, constants, dtype, early_stop)

    monkeypatch.setattr("ignite_kd.concepts.discarding.descend", watched)
    return seen


def tell(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_the_linear_example_step_by_step(steps):
    maps = sampled_maps(example.linear_extractor, example.linear_image(), TINY, noise=example.noise, early_stop=False)
    wanted = {
        1: (0.7948777, [0.01] * 4, [-192.304086, -75.976737, -72.505558, -200.238083], -3.1862317, 23.0984992),
        2: (0.6409826, [0.01030048, 0.01011871, 0.01011329, 0.01031287],
            [-186.808604, -92.276475, -92.256713, -186.861545], -3.1653618, 22.7985152),
        5: (0.9609822, [0.01118606, 0.01042984, 0.01043203, 0.01118109],
            [-178.079342, -50.241137, -47.139718, -185.157291], -3.1092057, 22.7254224),
        20: (0.7238980, [0.01489947, 0.01158709, 0.01158218, 0.01491093],
             [-135.715833, -65.174171, -65.370261, -135.323604], -2.9131219, 21.1157510),
    }  # fmt: skip
    for t, (disturbance, sigma, gradient, mean, loss) in wanted.items():
        found = steps[t - 1]
        assert_close(found[0], tell(disturbance), rtol=0, atol=1e-7)
        assert_close(found[1], tell(*sigma), rtol=0, atol=1e-8)
        assert_close(found[2], tell(*gradient), rtol=0, atol=1e-6)
        assert maps.traces[0, t - 1].item() == pytest.approx(mean, abs=1e-7)
        assert (maps.losses[0, t - 1] - 7 * maps.traces[0, t - 1]).item() == pytest.approx(loss, abs=1e-7)
    assert not maps.traces[0, :60].isnan().any() and maps.traces[0, 60:].isnan().all()
    assert maps.traces[0, :60].max().item() == pytest.approx(-2.6439923, abs=1e-7)
    assert maps.steps.tolist() == [32] and maps.traces[0, 32].item() == pytest.approx(-2.8016552, abs=1e-7)
    assert_close(maps.entropies.flatten(), tell(-2.621443, -2.981931, -2.982102, -2.621145), rtol=0, atol=1e-6)
    assert maps.status.tolist() == [Status.OK]


def test_stopping_early_changes_nothing_but_the_price(steps):
    arguments = (example.linear_extractor, example.linear_image(), TINY, None, example.noise)
    whole = sampled_maps(*arguments, early_stop=False)
    price = len(steps)
    short = sampled_maps(*arguments)
    assert torch.equal(short.entropies, whole.entropies) and torch.equal(short.steps, whole.steps)
    assert price == 59 and len(steps) - price == 33  # what passes the threshold at step 33 needs the steps before it


def test_sigma_stays_between_its_bounds(steps):
    constants = Constants(grid=2, samples=4, entropy_weight=0.109375, learning_rate=1e-4, steps=4)
    maps = sampled_maps(example.linear_extractor, example.linear_image(), constants, noise=example.noise)
    assert_close(steps[0][2], tell(-20.038461, 96.288888, 99.760067, -27.972458), rtol=0, atol=1e-6)
    assert_close(steps[1][0], tell(0.0267050), rtol=0, atol=1e-7)
    assert_close(steps[1][1], tell(0.01200385, 0.001, 0.001, 0.01279725), rtol=0, atol=1e-8)
    assert_close(steps[2][1], tell(0.01190508, 0.00537079, 0.00538901, 0.01264270), rtol=0, atol=1e-8)
    assert_close(maps.traces[0, :3], tell(-3.18623165, -4.2302025, -3.3939714), rtol=0, atol=1e-7)
    assert maps.status.tolist() == [Status.NEVER]


def test_the_convolutional_example_on_a_grid_that_does_not_divide_the_image(steps):
    found = example.conv_extractor(example.conv_image())
    assert found.sum().item() == pytest.approx(1.69904036, abs=1e-8) and (found > 0).sum() == 17
    assert_close(found[0, 0, 0], tell(0, 0.10714592, 0, 0.11069465), rtol=0, atol=1e-8)
    maps = sampled_maps(example.conv_extractor, example.conv_image(), Constants(grid=3, samples=4), noise=example.noise)
    wanted = {
        1: (0.9257599, [0.01] * 9, [-59.454282, -48.285234, -54.901425, -48.459166, -52.293212, -57.225481,
            -67.007678, -62.066984, -64.579893], -3.1862317),
        5: (1.0918577, [0.01075138, 0.01054283, 0.01075006, 0.01062896, 0.01071611, 0.01072704, 0.01088095,
            0.01081735, 0.01086291], [-53.914484, -42.819052, -44.225170, -43.284564, -44.888610, -50.649540,
            -59.811245, -54.769357, -56.923149], -3.1147048),
        20: (1.5738781, [0.01289086, 0.01204187, 0.01283419, 0.01238505, 0.01271164, 0.01281665, 0.01352100,
             0.01320899, 0.01340637], [-31.219657, -21.825158, -38.342409, -23.866248, -34.058727, -30.776970,
             -39.801713, -38.216064, -40.222734], -2.9346337),
    }  # fmt: skip
    for t, (disturbance, sigma, gradient, mean) in wanted.items():
        assert_close(steps[t - 1][0], tell(disturbance), rtol=0, atol=1e-7)
        assert_close(steps[t - 1][1], tell(*sigma), rtol=0, atol=1e-8)
        assert_close(steps[t - 1][2], tell(*gradient), rtol=0, atol=1e-6)
        assert maps.traces[0, t - 1].item() == pytest.approx(mean, abs=1e-7)
    assert maps.steps.tolist() == [39] and maps.traces[0, 39].item() == pytest.approx(-2.8013937, abs=1e-7)
    entropies = (-2.802523, -2.917391, -2.803408, -2.868116, -2.817980, -2.808101, -2.715275, -2.752330, -2.727421)
    assert_close(maps.entropies.flatten(), tell(*entropies), rtol=0, atol=1e-6)


def test_an_image_costs_no_more_passes_than_were_counted():
    """Of 96 copies: one for the scale and one for each step before the threshold; and the clean image once."""
    passes = []

    def counting(x):
        passes.append(len(x))
        return example.linear_extractor(x)

    maps = sampled_maps(counting, example.linear_image(), Constants(grid=2))
    assert sum(passes) == 1 + 96 + 96 * int(maps.steps.item() + (maps.traces[0].nan_to_num(-9).argmax() > maps.steps))
    assert sum(passes) < 5760


def images(n):
    return torch.cat([example.conv_image().roll(i, dims=3) * (1 + 0.1 * i) for i in range(n)])


def test_images_in_one_pass_are_what_each_is_alone_whatever_its_neighbours():
    arguments = {"constants": Constants(grid=3, samples=6), "noise": normal_noise(1)}
    together = sampled_maps(example.conv_extractor, images(5), seeds=[7, 3, 9, 1, 4], at_once=5, **arguments)
    assert len(set(together.steps.tolist())) > 1  # some are done before others
    alone = [
        sampled_maps(example.conv_extractor, images(5)[i : i + 1], seeds=[seed], **arguments)
        for i, seed in enumerate([7, 3, 9, 1, 4])
    ]
    for i, one in enumerate(alone):
        assert_close(together.entropies[i], one.entropies[0], rtol=0, atol=1e-12)
        assert torch.equal(together.steps[i], one.steps[0])
    order = [4, 2, 0, 1, 3]
    shuffled = sampled_maps(
        example.conv_extractor, images(5)[order], seeds=[[7, 3, 9, 1, 4][i] for i in order], at_once=2, **arguments
    )
    assert_close(shuffled.entropies, together.entropies[order], rtol=0, atol=1e-12)


def test_another_seed_is_another_noise_and_the_same_one_the_same():
    arguments = (example.conv_extractor, images(1), Constants(grid=3, samples=6))
    one, again, other = (sampled_maps(*arguments, noise=normal_noise(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.entropies, again.entropies)
    assert not torch.allclose(one.entropies, other.entropies, atol=1e-4)


def test_float32_tells_the_same():
    single = sampled_maps(
        lambda x: example.conv_extractor(x.double()).float(), images(2).float(), Constants(grid=3, samples=6)
    )
    double = sampled_maps(example.conv_extractor, images(2), Constants(grid=3, samples=6))
    assert_close(single.entropies.double(), double.entropies, rtol=0, atol=2e-4)


def test_an_image_that_moves_nothing_is_reported_and_its_neighbour_is_not_disturbed():
    lit = images(2)
    lit[0] = 0
    gated = lambda x: example.conv_extractor(x) * (x.flatten(1).mean(1) > 0.2).view(-1, 1, 1, 1)  # noqa: E731
    arguments = {"constants": Constants(grid=3, samples=6), "noise": normal_noise()}
    maps = sampled_maps(gated, lit, seeds=[0, 1], **arguments)
    assert maps.status.tolist() == [Status.SILENT, Status.OK]
    assert maps.entropies[0].isnan().all() and maps.steps.tolist()[0] == -1
    alone = sampled_maps(gated, lit[1:], seeds=[1], **arguments)
    assert_close(maps.entropies[1:], alone.entropies, rtol=0, atol=1e-12)


def test_features_that_are_no_numbers_are_refused():
    with pytest.raises(UserError, match="not finite"):
        sampled_maps(lambda x: x / 0, images(1), Constants(grid=3, samples=2))
