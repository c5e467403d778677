import dataclasses
import math

import pytest
import torch
from explained import explained, explanation, made_up

from ignite_kd.concepts.explanation import Number
from ignite_kd.concepts.numbers import (
    columns,
    comparisons,
    difference,
    engine_note,
    images_of,
    interval,
    numbers,
    shown,
)


def test_the_numbers_of_the_worked_example():
    found = numbers(explained())
    # N_fg (2, 2, 2), N_bg (3, 2, 1) at the last checkpoint
    assert found["N_fg"] == Number(2, 0)
    assert found["N_bg"] == pytest.approx((2, math.sqrt(2 / 3)))
    assert found["ratio"] == pytest.approx(
        (0.522222, math.sqrt(sum((2 / n - 47 / 90) ** 2 for n in (5, 4, 3)) / 3)), abs=1e-6
    )
    assert found["D_mean"] == pytest.approx((0.5070767, 0.2225667), abs=5e-7)
    assert found["D_std"].value == pytest.approx(0.2225667, abs=5e-7)
    assert found["variance"].value == pytest.approx(0.0495359, abs=5e-7)
    assert found["rho"] == pytest.approx((0.55, math.sqrt((0.45**2 + 0.3**2 + 0.15**2) / 3)))
    assert set(found) == {"N_fg", "N_bg", "ratio", "D_mean", "D_std", "variance", "rho"}


def test_without_masks_all_cells_count_and_without_a_path_there_is_no_distance():
    network = explained(distances=None, masks=False)
    assert set(numbers(network)) == {"N", "rho_all"}
    assert numbers(network)["N"].value == pytest.approx(float(network.total[:, -1].double().mean()))
    assert numbers(network)["rho_all"].value == pytest.approx(network.stability["total"])


def test_columns_are_the_numbers_that_are_known():
    assert columns(made_up(2, 2, 2, masks=False, distances=False)) == ["N", "rho_all"]
    assert columns(explanation()) == ["N_fg", "N_bg", "ratio", "D_mean", "D_std", "variance", "rho"]


def test_one_image_has_no_spread():
    whole = made_up()
    assert "±" not in shown(whole, "N_fg", numbers(whole.networks[0])["N_fg"])


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
    assert shown(whole, "variance", Number(0.0000123, None)) == "1.23e-05"
    assert shown(whole, "rho", None) == shown(whole, "rho", Number(math.nan, None)) == "–"


def test_what_the_linear_engine_makes_inexact_is_marked():
    assert shown(explanation(engine="linear"), "rho", Number(0.55, None)) == "≈\N{NO-BREAK SPACE}0.550"


def test_a_difference_has_signs():
    assert interval("N_fg", (0.5, -0.25, 1)) == "+0.50 (−0.25 to +1.00)"


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
