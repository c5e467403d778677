import pytest

from ignite_kd.concepts.conclusion import Measured, explained
from ignite_kd.concepts.results_text import results_text

ALL = ("level", "threshold", "peak", "convergence", "percent")


@pytest.fixture
def one(maps, foreground, distances):
    measured = Measured(
        name="label_net", about={}, layer="conv", epochs=[0, 2, 5, 10], maps=maps, distances=distances, fates={}
    )
    return explained(measured, (foreground, ~foreground), 0.2)


def test_the_worked_example_in_the_originals_order(one, foreground):
    lines = results_text(one, foreground, 0.2, -2.8, ALL).splitlines()
    inexact = results_text(one, foreground, 0.2, -2.8, ALL, engine="linear").splitlines()
    assert inexact[0] == f"{lines[0]}, inexact: by the linear engine" and inexact[1:] == lines[1:]
    threshold = lines.pop(3)
    assert lines == [
        "label_net, layer conv, threshold of the entropy -2.8, margin 0.2",
        "epochs: 0 2 5 10",
        "total background: -2.77537 -2.88944 -3.10741 -2.99384",
        "fore knowledge: 0 2.33333 2.33333 2",
        "back knowledge: 0 1 2.33333 2",
        "total knowledge: 0 3.33333 4.66667 4",
        "ratio: 0 0.666667 0.430556 0.522222",
        "fore max mean, var, slope: 0.507077, 0.0495359, 6.99179",
        "back max mean, var, slope: 0.583188, 0.0219889, 4.74552",
        "percent: fore 0.55, back 0.416667, all 0.430556",
    ]
    below = sorted(
        (level - value for i in range(3) for t, level in enumerate(one.level.tolist())
         for value in one.maps[i, t][foreground[i]].tolist()),
        reverse=True,
    )  # fmt: skip
    mean, top = sum(below) / len(below), below[len(below) // 10 - 1]
    assert threshold.startswith(f"threshold: mean {mean:.6g}, top 10% {top:.6g}, top 5% ")


def test_parts_and_sides_are_chosen(one, foreground):
    text = results_text(one, foreground, 0.2, -2.8, ("peak", "percent"), points="back")
    assert [line.split(":")[0] for line in text.splitlines()[2:]] == [
        "back knowledge", "total knowledge", "ratio", "percent",
    ]  # fmt: skip
    assert text.endswith("percent: back 0.416667, all 0.430556\n")
