from dataclasses import replace

import pytest
import torch
from explained import DISTANCES, EPOCHS, explained, explanation, made_up

from ignite_kd.concepts import curves

pytest.importorskip("matplotlib")


@pytest.fixture
def figures(monkeypatch):
    """Name of the file → the figure."""
    found = {}
    monkeypatch.setattr("ignite_kd.concepts.curves.save_figure", lambda figure, path: found.update({path.name: figure}))
    return found


def draw(whole, folder):
    parts = curves.counts, curves.speed, curves.distance
    return {picture.path.name: picture for part in parts for picture in part(whole, folder)}


def test_curves_are_means_over_images(tmp_path, figures):
    draw(explanation(explained(), explained("kd")), tmp_path)
    expected = {
        "object.png": [0, 7 / 3, 7 / 3, 2],
        "ground.png": [0, 1, 7 / 3, 2],
        "ratio.png": [0, 0.666667, 0.430556, 0.522222],
    }
    for name, values in expected.items():
        (axes,) = figures[name].axes
        assert axes.lines[0].get_xdata().tolist() == EPOCHS
        assert axes.lines[0].get_ydata().tolist() == pytest.approx(values, abs=1e-6)
        assert len(axes.collections) == 2  # bands
        assert [text.get_text() for text in figures[name].legends[0].get_texts()] == ["alone", "kd"]
    (axes,) = figures["distance.png"].axes
    assert axes.lines[0].get_ydata().tolist() == list(DISTANCES)


def test_a_band_is_one_deviation_and_stays_where_values_can_be(tmp_path, figures):
    draw(explanation(), tmp_path)
    ys = figures["object.png"].axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert max(ys) == pytest.approx(7 / 3 + (((1 - 7 / 3) ** 2 + (5 - 7 / 3) ** 2 + (1 - 7 / 3) ** 2) / 3) ** 0.5)
    ratio = figures["ratio.png"].axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert min(ratio) >= 0 and max(ratio) <= 1


def test_bands_of_many_networks_would_hide_each_other(tmp_path, figures):
    pictures = draw(made_up(8, 2, 3), tmp_path)
    (axes,) = figures["object.png"].axes
    assert len(axes.lines) == 8 and not axes.collections
    assert "hide each other" in pictures["object.png"].reading


def test_images_are_counted_where_they_have_most_concepts(tmp_path, figures):
    draw(explanation(), tmp_path)
    above, below = figures["speed.png"].axes
    assert above.lines[0].get_xdata().tolist() == list(DISTANCES)
    heights = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in below.patches if bar.get_height()}
    width = DISTANCES[-1] / 12  # of a bin
    assert list(heights.values()) == [1, 1, 1]  # best at epochs 10, 5, 2
    assert list(heights) == pytest.approx(DISTANCES[1:], abs=width)


@pytest.fixture
def two_seeds():
    """A method whose runs have the concepts of the worked example once and three times over, on ways of 1 and 2."""
    alone = explained()
    ways = torch.tensor(DISTANCES, dtype=torch.float64)
    runs = [explained(f"kd {i}", distances=tuple((factor * ways).tolist())) for i, factor in enumerate((1, 2))]
    runs[1] = replace(runs[1], foreground=3 * runs[1].foreground)
    return explanation(alone, *runs, groups={"kd": ["kd 0", "kd 1"]})


def test_a_method_is_the_mean_over_its_seeds_with_their_spread_and_its_runs_are_faint(tmp_path, figures, two_seeds):
    reading = draw(two_seeds, tmp_path)["object.png"].reading
    (axes,) = figures["object.png"].axes
    _, mean, *runs = axes.lines
    assert mean.get_ydata().tolist() == pytest.approx([0, 14 / 3, 14 / 3, 4])
    assert [run.get_ydata().tolist()[-1] for run in runs] == [2, 6]
    assert all(run.get_alpha() < 1 and run.get_color() == mean.get_color() for run in runs)
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert max(band) == pytest.approx(14 / 3 + 14 / 3 / 2**0.5)  # of 7/3 and 7
    assert [text.get_text() for text in figures["object.png"].legends[0].get_texts()] == ["alone", "kd, 2 seeds"]
    assert "thin ones their runs" in reading and "over seeds and images where there is one run" in reading


def test_ways_are_means_over_seeds_and_images_are_counted_of_all_runs(tmp_path, figures, two_seeds):
    pictures = draw(two_seeds, tmp_path)
    (axes,) = figures["distance.png"].axes
    assert axes.lines[1].get_ydata().tolist() == pytest.approx([1.5 * way for way in DISTANCES])
    assert len(axes.collections) == 1 and "over seeds to either side" in pictures["distance.png"].reading
    above, below = figures["speed.png"].axes
    assert above.lines[1].get_xdata().tolist() == pytest.approx([1.5 * way for way in DISTANCES])
    assert sum(bar.get_height() for bar in below.patches) == 3 + 2 * 3
    assert "kd 0.761" in pictures["speed.png"].alt  # 1.5 times 0.507


def test_runs_that_kept_other_epochs_are_drawn_each_by_itself(tmp_path, figures):
    maps = explained().maps[:, 1:]
    whole = explanation(
        explained("kd 0"), explained("kd 1", maps, epochs=[2, 5, 10], distances=DISTANCES[1:]),
        groups={"kd": ["kd 0", "kd 1"]},
    )  # fmt: skip
    draw(whole, tmp_path)
    (axes,) = figures["object.png"].axes
    assert [len(line.get_xdata()) for line in axes.lines] == [4, 3]
