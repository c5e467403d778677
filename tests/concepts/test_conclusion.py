import math
import statistics

import pytest
import torch

from ignite_kd.concepts.conclusion import Measured, conclude, explained, measure_images, noise_stability
from ignite_kd.concepts.tables import markdown

EPOCHS = [0, 2, 5, 10]


@pytest.fixture
def one(maps, distances):
    return Measured(
        name="one", about={}, layer="pooled", epochs=EPOCHS, maps=maps, distances=distances, fates={"kept": 3}
    )


@pytest.fixture
def masks(foreground):
    return foreground, ~foreground


def concluded(networks, masks, margin=0.2, **more):
    pictures = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    return conclude(networks, masks, margin, pictures=pictures, names=["a", "b", "c"], **{"resamples": 20} | more)


def test_the_numbers_of_the_worked_example(one, masks):
    found = explained(one, masks, 0.2)
    assert found.level.tolist() == pytest.approx([-2.775370, -2.889444, -3.107407, -2.993843], abs=5e-7)
    assert found.foreground.tolist() == [[0, 1, 1, 2], [0, 4, 5, 2], [0, 2, 1, 2]]
    assert found.background.tolist() == [[0, 2, 2, 3], [0, 0, 3, 2], [0, 1, 2, 1]]
    assert torch.equal(found.total, found.foreground + found.background)
    assert found.speed[:4] == pytest.approx((0.5070767, 0.2225667, 0.0495359, 6.991786), abs=1e-6)
    assert found.background_speed.mean == pytest.approx(0.5831878, abs=5e-8)
    wanted = {"foreground": 0.55, "background": 0.4166667, "total": 0.4305556}
    assert found.stability == pytest.approx(wanted, abs=1e-7)
    numbers = {name: tuple(number) for name, number in found.numbers.items()}
    assert numbers["N_fg"] == (2, 0) and numbers["N_bg"] == pytest.approx((2, statistics.pstdev([3, 2, 1])))
    assert numbers["ratio"][0] == pytest.approx(0.522222, abs=5e-7)
    assert numbers["D"] == pytest.approx((0.5070767, 0.2225667), abs=5e-8)
    assert numbers["rho"] == pytest.approx((0.55, statistics.pstdev([1, 0.25, 0.4])))
    assert numbers["rho_trained"] == pytest.approx(numbers["rho"])  # the first checkpoint has no concept


def test_without_masks_concepts_are_all_that_is_known(one, masks):
    found = explained(one, None, 0.2)
    level = one.maps.mean((0, 2, 3))
    assert torch.allclose(found.level, level)
    total = (level.view(-1, 1, 1) - one.maps > 0.2).sum((2, 3))
    assert found.total.tolist() == total.tolist() and found.foreground is None and found.background is None
    assert set(found.numbers) == {"N", "D", "rho_all"} and found.background_speed is None
    assert math.isnan(found.stability["foreground"]) and found.stability["total"] > 0


def test_one_checkpoint_has_neither_speed_nor_stability(one, masks):
    last = Measured(**{**vars(one), "maps": one.maps[:, -1:], "epochs": [10], "distances": one.distances[-1:]})
    found = explained(last, masks, 0.2)
    assert set(found.numbers) == {"N_fg", "N_bg", "N", "ratio"}
    assert found.numbers["N_fg"].value == 2 and found.speed is None
    assert all(math.isnan(value) for value in found.stability.values())


def test_differences_are_paired(one, masks):
    """A twin differs by nothing in every resample; one with a constant shift of its maps too, whatever the images."""
    twin = Measured(**{**vars(one), "name": "twin", "maps": one.maps + 1.5})
    found = concluded([one, twin], masks)
    assert {key.split(": ")[0] for key in found.differences} == {"twin"}
    for key, values in found.differences.items():
        assert values == pytest.approx((0, 0, 0), abs=1e-9), key


def test_an_interval_holds_what_resampled_images_give(one, masks):
    """The second network has the first checkpoint, without any concept, as its last: N_fg falls by 2 of every image."""
    less = Measured(**{**vars(one), "name": "less", "maps": one.maps[:, [1, 2, 3, 0]]})
    found = concluded([one, less], masks, resamples=200)
    assert found.differences["less: N_fg"] == pytest.approx((-2, -2, -2), abs=0.7)
    value, low, high = found.differences["less: N_bg"]
    assert value == pytest.approx(-2) and low < -2 < high
    assert found.differences["less: rho"][0] == pytest.approx(-0.55)


def test_seeds_of_a_method_are_compared_by_their_mean(one, masks):
    others = [Measured(**{**vars(one), "name": name}) for name in ("kd-seed0", "kd-seed1")]
    less = Measured(**{**vars(one), "name": "alone-seed1", "maps": one.maps[:, [1, 2, 3, 0]]})
    groups = {"alone": ["one", "alone-seed1"], "kd": ["kd-seed0", "kd-seed1"]}
    found = concluded([one, less, *others], masks, groups=groups)
    assert found.groups == groups
    assert found.differences["kd: N_fg"][0] == pytest.approx(2 - (2 + 0) / 2)
    assert found.differences["kd-seed1: N_fg"][0] == pytest.approx(0) and "alone: N_fg" not in found.differences


def test_other_margins_are_swept(one, masks):
    found = concluded([one], masks, margin=0.1)
    assert list(found.sweep) == [0.05, 0.1, 0.2, 0.3, 0.5] and found.differences == {}
    assert found.sweep[0.2]["one"]["N_fg"].value == 2 and found.networks[0].numbers == found.sweep[0.1]["one"]


def test_noises_count_as_epochs_do(one, masks):
    assert noise_stability(one.maps[:, -1:], masks, 0.2) == 1
    images = measure_images(one, masks, 0.2)
    assert noise_stability(one.maps, masks, 0.2) == pytest.approx(images["rho"].mean().item())


def test_one_image_has_no_interval(one, masks):
    """Each of its resamples is the same, so that the interval would have no width and every claim would hold."""
    less = Measured(**{**vars(one), "name": "less", "maps": one.maps[:, [1, 2, 3, 0]]})
    single = [Measured(**{**vars(each), "maps": each.maps[:1]}) for each in (one, less)]
    alone = concluded(single, tuple(mask[:1] for mask in masks), groups={"both": ["one", "less"]})
    assert alone.differences == {} and alone.networks[0].numbers["D"].spread is None
    assert "# What 2 networks learned: `pooled`, 3 images" in markdown(alone)  # by names; no deviation of one seed's
    assert "less: N_fg" in concluded([one, less], masks).differences


def test_what_the_numbers_do_not_say_is_noted(one, masks):
    flat = one.maps.clone()
    flat[0] = -2.7
    found = concluded([one, Measured(**{**vars(one), "name": "flat", "maps": flat, "never": 2})], masks)
    assert found.notes == (
        "flat: sigma never reached the threshold in 2 of 12 maps; the nearest ones were taken",
        "images that never had a concept on the object: 1 of flat; as published their D is that of the first "
        "checkpoint, and their ρ 0",
    )


def test_an_image_whose_feature_does_not_move_under_other_noise_says_nothing_of_noise(one, masks):
    maps = one.maps[:, -1:].repeat(1, 2, 1, 1)
    maps[1, 0] = torch.nan
    assert noise_stability(maps, masks, 0.2) == 1
    assert noise_stability(maps[1:2], tuple(mask[1:2] for mask in masks), 0.2) is None
