import dataclasses
import math

import pytest
import torch
from explained import explained, explanation, made_up
from worked_examples import worked_maps

from ignite_kd.concepts.candidates import Candidates
from ignite_kd.concepts.explanation import Number
from ignite_kd.concepts.numbers import (
    accuracy,
    at_margin,
    bases,
    boxed,
    columns,
    comparisons,
    difference,
    engine_note,
    images_of,
    interval,
    over_seeds,
    shown,
)


def test_the_numbers_of_the_worked_example():
    found = explained().numbers
    # N_fg (2, 2, 2), N_bg (3, 2, 1) at the last checkpoint
    assert found["N_fg"] == Number(2, 0)
    assert found["N_bg"] == pytest.approx((2, math.sqrt(2 / 3)))
    assert found["ratio"] == pytest.approx(
        (0.522222, math.sqrt(sum((2 / n - 47 / 90) ** 2 for n in (5, 4, 3)) / 3)), abs=1e-6
    )
    assert found["D_mean"] == pytest.approx((0.5070767, 0.2225667), abs=5e-7)
    assert found["D_std"].value == pytest.approx(0.2225667, abs=5e-7)
    assert found["D_var"].value == pytest.approx(0.0495359, abs=5e-7)
    assert found["rho"] == pytest.approx((0.55, math.sqrt((0.45**2 + 0.3**2 + 0.15**2) / 3)))
    assert found["rho_bg"].value == pytest.approx(0.416667, abs=1e-6)
    assert found["rho_all"].value == pytest.approx(0.430556, abs=1e-6)
    assert found["D_bg"].value == pytest.approx(0.5831878, abs=5e-7)


def test_without_masks_all_cells_count_and_without_a_path_there_is_no_distance():
    network = explained(distances=None, masks=False)
    assert set(network.numbers) == {"N", "rho_all"}
    maps = worked_maps()
    total = (maps[:, -1].mean() - maps[:, -1] > 0.2).sum() / 3
    assert network.numbers["N"].value == pytest.approx(total.item())


def test_columns_are_the_numbers_that_are_known():
    assert columns(made_up(2, 2, 2, masks=False, distances=False)) == ["N", "rho_all"]
    assert columns(explanation()) == [
        "N_fg", "N_bg", "ratio", "D_mean", "D_std", "D_var", "rho", "rho_trained",
    ]  # fmt: skip
    some = explanation()
    some.networks[0].numbers["ratio_some"] = Number(0.7, None)  # an image is without a concept
    assert columns(some)[:4] == ["N_fg", "N_bg", "ratio", "ratio_some"]


def test_a_number_that_nobody_has_is_no_column():
    nothing = explained(numbers={"rho": Number(math.nan, None), "N_fg": Number(1.0, None), "N_bg": Number(None, None)})
    assert columns(explanation(nothing)) == ["N_fg"]


def test_test_accuracy_is_a_part_of_100():
    assert accuracy(explained(about={"test accuracy": 0.954})) == "95.4%"
    assert accuracy(explained(about={"test accuracy": None})) == accuracy(explained()) == ""


def test_one_image_has_no_spread():
    whole = made_up()
    assert "±" not in shown(whole, "N_fg", whole.networks[0].numbers["N_fg"])


def test_seeds_of_a_method_are_compared_as_one():
    names = ["alone 0", "alone 1", "kd 0", "kd 1", "teacher"]
    networks = [explained(name, numbers={"rho": Number(i / 10, 0.0)}) for i, name in enumerate(names)]
    groups = {"alone": names[:2], "kd": names[2:4]}
    kd, teacher = comparisons(explanation(*networks, groups=groups))
    assert (kd.name, kd.base_name) == ("kd", "alone")
    assert kd.value("rho") == pytest.approx(0.25) and kd.value("rho", of_base=True) == pytest.approx(0.05)
    # as the differences are: a network of which there is one seed, with the first network
    assert (teacher.name, teacher.base_name, teacher.value("rho", of_base=True)) == ("teacher", "alone 0", 0.0)
    assert kd.value("N_fg") is None


def test_the_mean_over_seeds_is_of_numbers_that_all_have():
    found = over_seeds([
        explained(name, numbers={"rho": Number(rho, 0.5), "N": Number(n, None)} | more)
        for name, rho, n, more in (("a", 0.2, 1.0, {}), ("b", 0.4, math.nan, {"ratio": Number(0.1, 0.1)}))
    ])  # fmt: skip
    assert found == {"rho": (pytest.approx(0.3), pytest.approx(math.sqrt(0.02)))}
    assert over_seeds([explained()])["N_bg"] == (2, None)  # of one seed there is no spread


def test_what_is_compared_with_has_the_name_of_its_group():
    names = ["students/alone-seed0", "students/alone-seed1", "students/kd-seed0", "students/kd-seed1"]
    groups = {"students/alone": names[:2], "students/kd": names[2:]}
    assert bases(explanation(*map(explained, names), groups=groups)) == "students/alone (mean of 2 seeds)"
    assert bases(explanation(*map(explained, names))) == names[0]
    assert bases(explanation()) == ""


def test_another_margin_has_its_own_numbers_and_no_intervals():
    sweep = {0.5: {"alone": {"rho": Number(0.25, None)}, "kd": {}}}
    whole = explanation(explained(), explained("kd"), sweep=sweep, differences={"kd: rho": (0.1, 0.0, 0.2)})
    other = at_margin(whole, 0.5)
    assert [one.numbers for one in other.networks] == [{"rho": (0.25, None)}, {}]
    assert (other.margin, other.differences) == (0.5, {}) and whole.margin == 0.2


def test_a_box_is_no_mask():
    """In the words of `candidates.on_grid`."""
    kinds = Candidates(["a"], "cifar10", "", 10, 32, lambda names: None, None)
    assert boxed(explanation(settings={"masks": kinds.on_grid("auto", 8)[1]}))
    assert not boxed(explanation(settings={"masks": kinds.on_grid("none", 8)[1]}))
    known = dataclasses.replace(kinds, masks=torch.zeros(1, 32, 32, dtype=torch.bool))
    assert not boxed(explanation(settings={"masks": known.on_grid("auto", 8)[1]})) and not boxed(explanation())


def test_without_groups_every_network_is_compared_with_the_first():
    found = comparisons(explanation(explained("a"), explained("b"), explained("c")))
    assert [(one.name, one.base_name) for one in found] == [("b", "a"), ("c", "a")]


def test_the_deviation_of_an_engine_is_told_or_that_it_was_not_measured():
    assert "0.01 nats" in engine_note(explanation(engine="linear", deviation="0.01 nats"))
    assert "not measured" in engine_note(explanation(engine="linear"))
    assert engine_note(explanation()) == ""


def test_numbers_are_shown_with_their_spread_and_what_nobody_knows_as_a_dash():
    whole = explanation()
    assert shown(whole, "N_fg", Number(8.126, 2.0)) == "8.13 ± 2.00"
    assert shown(whole, "rho", Number(0.55, None)) == "0.550"
    # digits are even, so that columns can be read
    assert shown(whole, "D_mean", Number(0.38, 0.287)) == "0.380 ± 0.287"
    assert shown(whole, "D_mean", Number(1.2, 0.3534)) == "1.200 ± 0.353"
    assert shown(whole, "rho", None) == shown(whole, "rho", Number(math.nan, None)) == "–"


def test_what_the_linear_engine_makes_inexact_is_marked():
    assert shown(explanation(engine="linear"), "rho", Number(0.55, None)) == "≈\N{NO-BREAK SPACE}0.550"


def test_a_difference_has_signs():
    assert interval(explanation(), "N_fg", (0.5, -0.25, 1)) == "+0.50 (−0.25 to +1.00)"
    inexact = explanation(engine="linear")
    assert interval(inexact, "N_fg", (0.5, -0.25, 1)) == "≈\N{NO-BREAK SPACE}+0.50 (−0.25 to +1.00)"


def test_a_difference_that_is_no_number_was_not_measured():
    other = explained("kd")
    whole = explanation(explained(), other, differences={"kd: rho": (0.1, 0.0, 0.2), "kd: N_fg": (math.nan, 0, 1)})
    assert difference(whole, other.name, "rho") == (0.1, 0.0, 0.2)
    assert difference(whole, other.name, "N_fg") is None
    assert difference(whole, other.name, "N_bg") is None


def test_images_are_counted_in_words():
    whole = explanation()
    assert images_of(whole) == "3 images"
    assert images_of(dataclasses.replace(whole, images=torch.zeros(1, 3, 8, 8, dtype=torch.uint8))) == "1 image"
