import dataclasses
import math

import pytest
import torch
from explained import explained, explanation, made_up

from ignite_kd.concepts.numbers import Value, difference, images_of, interval, numbers, shown


def test_the_numbers_of_the_worked_example():
    found = numbers(explained())
    # N_fg (2, 2, 2), N_bg (3, 2, 1) at the last checkpoint
    assert found["N_fg"] == Value(2, 0)
    assert found["N_bg"] == pytest.approx((2, math.sqrt(2 / 3)))
    assert found["ratio"] == pytest.approx(
        (0.522222, math.sqrt(sum((2 / n - 47 / 90) ** 2 for n in (5, 4, 3)) / 3)), abs=1e-6
    )
    assert found["D_mean"] == pytest.approx((0.5070767, 0.2225667), abs=5e-7)
    assert found["D_std"].mean == pytest.approx(0.2225667, abs=5e-7)
    assert found["variance"].mean == pytest.approx(0.0495359, abs=5e-7)
    assert found["rho"].mean == pytest.approx(0.55)
    assert set(found) == {"N_fg", "N_bg", "ratio", "D_mean", "D_std", "variance", "rho"}


def test_without_masks_all_cells_count_and_without_a_path_there_is_no_distance():
    network = explained(distances=None, masks=False)
    assert set(numbers(network)) == {"N_total", "rho"}
    assert numbers(network)["N_total"].mean == pytest.approx(float(network.total[:, -1].double().mean()))
    assert numbers(network)["rho"].mean == network.stability["total"]


def test_one_image_has_no_spread():
    found = numbers(made_up().networks[0])
    assert found["N_fg"].spread is None and found["D_mean"].spread is None


def test_numbers_are_shown_with_their_spread_and_what_nobody_knows_as_a_dash():
    whole = explanation()
    assert shown(whole, "N_fg", Value(8.126, 2.0)) == "8.13 ± 2.00"
    assert shown(whole, "rho", Value(0.55)) == "0.550"
    assert shown(whole, "variance", Value(0.0000123)) == "1.23e-05"
    assert shown(whole, "rho", None) == shown(whole, "rho", Value(math.nan)) == "–"


def test_what_the_linear_engine_makes_inexact_is_marked():
    assert shown(explanation(engine="linear"), "rho", Value(0.55)) == "≈\N{NO-BREAK SPACE}0.550"


def test_a_difference_has_signs():
    assert interval("N_fg", (0.5, -0.25, 1)) == "+0.50 (−0.25 to +1.00)"


def test_a_difference_that_is_no_number_was_not_measured():
    other = explained("kd")
    whole = explanation(explained(), other, differences={"kd: rho": (0.1, 0.0, 0.2), "kd: N_fg": (math.nan, 0, 1)})
    assert difference(whole, other, "rho") == (0.1, 0.0, 0.2)
    assert difference(whole, other, "N_fg") is None
    assert difference(whole, other, "N_bg") is None


def test_images_are_counted_in_words():
    whole = explanation()
    assert images_of(whole) == "3 images"
    assert images_of(dataclasses.replace(whole, images=torch.zeros(1, 3, 8, 8, dtype=torch.uint8))) == "1 image"
