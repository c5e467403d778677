import pytest

from ignite_kd.concepts.drawing import colour, label, labels, style

pytest.importorskip("matplotlib")


def luminance(code):
    """Of the sRGB standard, as the contrast of WCAG 2 takes it."""
    parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_every_network_of_24_looks_another_way():
    looks = {(style(n)["color"], style(n)["marker"], style(n)["linestyle"]) for n in range(24)}
    assert len(looks) == 24
    assert len({style(n)["marker"] for n in range(8)}) == 8  # for who sees no colours


def test_colours_stand_out_from_white():
    assert all(1.05 / (luminance(colour(n)) + 0.05) > 2 for n in range(8))


def test_labels_are_short_and_neither_hidden_nor_formulas():
    assert label("alone") == "alone"
    assert label("a" * 30, 10) == "…" + "a" * 9
    assert label("train/00012345.png", 10) == "…12345.png"
    assert not label("_hidden").startswith("_")
    assert label("$x$") == r"\$x\$"


def test_labels_are_cut_at_the_front_and_stay_apart():
    assert labels(["runs/students/alone", "runs/students/kd"]) == ["alone", "kd"]
    assert labels(["students/alone", "teacher/alone"]) == ["students/alone", "teacher/alone"]
    names = [f"students/with a long name-seed{i}" for i in range(3)]
    assert labels([*names, "b"], 12) == ["… name-seed0", "… name-seed1", "… name-seed2", "b"]
    assert labels(["one/network-seed0", "two/network-seed0"], 10) == ["…e/network-seed0", "…o/network-seed0"]
