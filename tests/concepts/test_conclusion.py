import math
import statistics
from itertools import product

import pytest
import torch

from ignite_kd.concepts.conclusion import Measured, conclude, explained, noise_stability
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
    assert numbers["D_mean"] == pytest.approx((0.5070767, 0.2225667), abs=5e-8)
    assert numbers["rho"] == pytest.approx((0.55, statistics.pstdev([1, 0.25, 0.4])))
    assert numbers["rho_trained"] == pytest.approx(numbers["rho"])  # the first checkpoint has no concept


def test_without_masks_concepts_are_all_that_is_known(one, masks):
    found = explained(one, None, 0.2)
    level = one.maps.mean((0, 2, 3))
    assert torch.allclose(found.level, level)
    total = (level.view(-1, 1, 1) - one.maps > 0.2).sum((2, 3))
    assert found.total.tolist() == total.tolist() and found.foreground is None and found.background is None
    assert set(found.numbers) == {"N", "D_mean", "D_std", "D_var", "rho_all"} and found.background_speed is None
    assert math.isnan(found.stability["foreground"]) and found.stability["total"] > 0


def test_one_checkpoint_has_neither_speed_nor_stability(one, masks):
    last = Measured(**{**vars(one), "maps": one.maps[:, -1:], "epochs": [10], "distances": one.distances[-1:]})
    found = explained(last, masks, 0.2)
    assert set(found.numbers) == {"N_fg", "N_bg", "N", "ratio", "ratio_some"}
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


def by_hand(network, chosen, on):
    """N_fg, ratio, D_mean, D_std and rho of these images (with repetitions), cell by cell in plain Python."""
    maps, way = network.maps.tolist(), network.distances.tolist()
    cells = [(r, c) for r in range(4) for c in range(4)]
    level = []
    for t in range(4):
        grounds = [[maps[i][t][r][c] for r, c in cells if not on[i][r][c]] for i in chosen]
        level.append(statistics.fmean(statistics.fmean(ground) for ground in grounds))
    numbers = {"N_fg": [], "ratio": [], "D_mean": [], "rho": []}
    for i in chosen:
        found = [{(r, c) for r, c in cells if level[t] - maps[i][t][r][c] > 0.2} for t in range(4)]
        mine = [{(r, c) for r, c in each if on[i][r][c]} for each in found]
        numbers["N_fg"].append(len(mine[-1]))
        numbers["ratio"].append(len(mine[-1]) / len(found[-1]) if found[-1] else 0)
        most = max(map(len, mine))
        numbers["D_mean"].append(way[next(t for t in range(4) if len(mine[t]) == most)])
        ever = set().union(*mine)
        numbers["rho"].append(len(mine[-1]) / len(ever) if ever else 0)
    means = {name: statistics.fmean(values) for name, values in numbers.items()}
    return means | {"D_std": statistics.pstdev(numbers["D_mean"])}


DRAWS = list(product(range(3), repeat=3))  # of three images, or seeds: every bootstrap there is


def agree(found, value, outcomes):
    """The difference to the last digit; its interval cuts a fortieth of all outcomes off at either side."""
    assert found[0] == pytest.approx(value, abs=1e-7)
    for end, sign in ((found[1], 1), (-found[2], -1)):
        beyond = [sum(sign * each < end + slack for each in outcomes) / len(outcomes) for slack in (-1e-6, 1e-6)]
        assert beyond[0] < 0.025 + 0.03 and beyond[1] > 0, (found, sign)  # of 250 draws


def varied(one, name, seed):
    """Other maps, so that everything differs from image to image."""
    noise = torch.randn(one.maps.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Measured(**{**vars(one), "name": name, "maps": one.maps + 0.2 * noise})


def test_intervals_are_those_of_a_bootstrap_written_out(one, masks):
    """Both networks see the same images in every draw."""
    other = varied(one, "other", 1)
    found = concluded([one, other], masks, resamples=250).differences
    drawn = {chosen: [by_hand(each, chosen, masks[0].tolist()) for each in (one, other)] for chosen in DRAWS}
    for name in drawn[0, 1, 2][0]:
        apart = {chosen: theirs[name] - mine[name] for chosen, (mine, theirs) in drawn.items()}
        agree(found[f"other: {name}"], apart[0, 1, 2], list(apart.values()))


def test_methods_are_resampled_over_their_seeds_too(one, masks):
    """All images of a network are alike here, so that between seeds alone anything differs."""
    same = tuple(mask[:1].repeat(3, 1, 1) for mask in masks)
    methods = {}
    for method, seeds in (("a", range(3)), ("b", range(10, 13))):
        maps = [varied(one, "", seed).maps[:1].repeat(3, 1, 1, 1) for seed in seeds]
        methods[method] = [Measured(**{**vars(one), "name": f"{method}{i}", "maps": m}) for i, m in enumerate(maps)]
    groups = {method: [each.name for each in networks] for method, networks in methods.items()}
    found = concluded([*methods["a"], *methods["b"]], same, groups=groups, resamples=250).differences
    for name in ("N_fg", "ratio", "D_mean"):
        mine, theirs = ([by_hand(each, (0,), same[0].tolist())[name] for each in group] for group in methods.values())
        means = [[statistics.fmean(values[i] for i in seeds) for seeds in DRAWS] for values in (mine, theirs)]
        outcomes = [after - before for before in means[0] for after in means[1]]
        assert len(set(outcomes)) > 3
        agree(found[f"b: {name}"], statistics.fmean(theirs) - statistics.fmean(mine), outcomes)
    value, low, high = found["b1: N_fg"]
    assert low == value == high


def test_one_image_has_no_spread(one, masks):
    single = Measured(**{**vars(one), "maps": one.maps[:1]})
    numbers = explained(single, tuple(mask[:1] for mask in masks), 0.2).numbers
    assert numbers["N_fg"] == (2, None) and "D_std" not in numbers and numbers["D_mean"].spread is None


def test_the_way_of_all_weights_before_a_layer_is_a_number_by_itself(one, masks):
    whole = Measured(**{**vars(one), "whole_distances": 2 * one.distances, "epoch_distances": one.distances / 4})
    numbers = explained(whole, masks, 0.2).numbers
    assert numbers["D_whole"].value == pytest.approx(2 * 0.5070767, abs=1e-7)
    assert numbers["D_epochs"].value == pytest.approx(0.5070767 / 4, abs=1e-7)


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
    assert noise_stability(one.maps, masks, 0.2) == pytest.approx(0.55)


def test_one_image_has_no_interval(one, masks):
    """Each of its resamples is the same, so that the interval would have no width and every claim would hold."""
    less = Measured(**{**vars(one), "name": "less", "maps": one.maps[:, [1, 2, 3, 0]]})
    single = [Measured(**{**vars(each), "maps": each.maps[:1]}) for each in (one, less)]
    alone = concluded(single, tuple(mask[:1] for mask in masks), groups={"both": ["one", "less"]})
    assert alone.differences == {} and alone.networks[0].numbers["D_mean"].spread is None
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


def test_images_without_a_concept_count_as_0_in_the_published_ratio_and_not_in_the_other(one, masks):
    flat = one.maps.clone()
    flat[0] = flat[0].mean()
    found = explained(Measured(**{**vars(one), "maps": flat}), masks, 0.2)
    on, off = found.foreground[:, -1].double(), found.background[:, -1].double()
    assert on[0] == off[0] == 0 < min(on[1:].sum(), off[1:].sum())
    parts = [float(a / (a + b)) for a, b in zip(on, off, strict=True) if a + b]
    assert 0 < len(parts) < 3
    assert found.numbers["ratio"].value == pytest.approx(sum(parts) / 3)
    assert found.numbers["ratio_some"].value == pytest.approx(sum(parts) / len(parts))
    nothing = explained(Measured(**{**vars(one), "maps": torch.zeros_like(flat)}), masks, 0.2)
    assert nothing.numbers["ratio"].value == 0 and "ratio_some" not in nothing.numbers
