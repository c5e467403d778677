import math

import pytest
from explained import explained, explanation, made_up

from ignite_kd.concepts.explanation import Number
from ignite_kd.concepts.pictures import draw

pytest.importorskip("matplotlib")

COUNTS = ["object.png", "ground.png", "ratio.png"]


@pytest.fixture
def figures(monkeypatch):
    """Name of the file → the figure."""
    found = {}
    for module in ("pictures", "curves", "heat_maps"):
        monkeypatch.setattr(
            f"ignite_kd.concepts.{module}.save_figure", lambda figure, path: found.update({path.name: figure})
        )
    return found


def drawn(whole, folder):
    return [picture.path.name for picture in draw(whole, folder)]


def test_there_is_a_picture_for_what_there_is_to_see(tmp_path, figures):
    differences = {"kd: rho": (0.1, 0.0, 0.2)}
    both = ["speed.png", "distance.png", "stability.png", "differences.png"]
    networks = explained(), explained("kd")
    assert drawn(explanation(*networks, differences=differences), tmp_path) == [
        "maps-1.png",
        "maps-2.png",
        *COUNTS,
        *both,
    ]
    assert drawn(made_up(1, 2, 3, distances=False), tmp_path) == ["maps-1.png", *COUNTS, "stability.png"]
    assert drawn(made_up(1, 2, 3, masks=False), tmp_path) == [
        "maps-1.png", "all.png", "speed.png", "distance.png", "stability.png",
    ]  # fmt: skip
    assert drawn(made_up(), tmp_path) == ["maps-1.png"]  # one point is no way and no curve


def test_files_are_pictures(tmp_path):
    for picture in draw(made_up(1, 1, 2, grid=4), tmp_path):
        assert picture.path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert picture.alt and picture.reading and picture.title


def test_stability_has_its_line_of_noise(tmp_path, figures):
    with_line = {picture.path.name: picture for picture in draw(explanation(noise=0.8), tmp_path)}["stability.png"]
    (axes,) = figures["stability.png"].axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.55, 0.416667, 0.430556], abs=1e-6)
    assert list(axes.lines[0].get_xdata()) == [0.8, 0.8]
    assert "dashed line" in with_line.reading
    without = {picture.path.name: picture for picture in draw(explanation(noise=None), tmp_path)}["stability.png"]
    assert not figures["stability.png"].axes[0].lines
    assert "not measured" in without.reading


def test_stability_of_a_method_is_its_mean_with_its_spread(tmp_path, figures):
    runs = [explained(f"kd {i}", numbers={"rho": Number(rho, 0.1)}) for i, rho in enumerate((0.5, 0.7))]
    draw(explanation(explained(), *runs, groups={"kd": ["kd 0", "kd 1"]}, noise=None), tmp_path)
    (axes,) = figures["stability.png"].axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.55, 0.416667, 0.430556, 0.6], abs=1e-6)
    (ends,) = axes.lines
    assert list(ends.get_xdata()) == pytest.approx([0.6 - 0.02**0.5, 0.6 + 0.02**0.5])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["alone", "kd"]


def test_differences_have_their_intervals(tmp_path, figures):
    differences = {"kd: rho": (0.1, -0.1, 0.2), "kd: N_fg": (2.0, 1.0, 3.0), "vid: rho": (0.3, 0.2, 0.4)}
    networks = explained(), explained("kd"), explained("vid")
    draw(explanation(*networks, differences=differences), tmp_path)
    shown = {axes.get_title(): axes for axes in figures["differences.png"].axes if axes.get_visible()}
    assert set(shown) == {"N_fg", "rho"}
    bar, point = shown["N_fg"].lines[:2]
    assert list(bar.get_xdata()) == [1.0, 3.0] and list(point.get_xdata()) == [2.0]
    assert [text.get_text() for text in shown["N_fg"].get_yticklabels()] == ["kd", "vid"]
    assert len(shown["rho"].lines) == 2 * 2 + 1


def test_one_colour_a_method(tmp_path, figures):
    members = {f"students/{method}": [f"students/{method}-seed{i}" for i in range(3)] for method in ("alone", "kd")}
    networks = [explained(name) for names in members.values() for name in names]
    draw(explanation(*networks, groups=members, differences={"students/kd: rho": (0.1, 0.0, 0.2)}), tmp_path)
    lines = figures["object.png"].axes[0].lines
    bars = figures["stability.png"].axes[0]
    colours = [lines[0].get_color(), lines[4].get_color()]
    assert [line.get_color() for line in lines] == [colours[0]] * 4 + [colours[1]] * 4 and len(set(colours)) == 2
    assert len({bar.get_facecolor()[:3] for bar in bars.patches}) == 2
    assert [text.get_text() for text in bars.get_yticklabels()] == ["alone", "kd"]
    assert figures["differences.png"].axes[0].lines[0].get_color() == colours[1]
    assert figures["differences.png"].get_suptitle() == "Differences to students/alone (mean of 3 seeds)"


@pytest.fixture
def words(monkeypatch):
    """(words, their box) of all that is drawn; ticks outside an axis exist too, but are not drawn."""
    from matplotlib.text import Text

    found, draw_it = [], Text.draw

    def heard(self, renderer, *rest, **more):
        draw_it(self, renderer, *rest, **more)
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), self.get_window_extent(renderer)))

    monkeypatch.setattr(Text, "draw", heard)
    return found


def test_what_is_no_number_has_no_bar(tmp_path, figures):
    """As after one checkpoint alone."""
    nothing = {kind: Number(math.nan, None) for kind in ("rho", "rho_bg", "rho_all")}
    assert "stability.png" not in drawn(explanation(explained(numbers=nothing)), tmp_path)
    draw(explanation(explained(), explained("kd", numbers=nothing)), tmp_path)
    assert len(figures["stability.png"].axes[0].patches) == 3


@pytest.mark.parametrize("sizes", [(8, 2, 22), (3, 12, 4), (1, 1, 1)], ids=str)
def test_no_word_lies_on_another_or_is_cut(tmp_path, figures, words, sizes):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    groups = {"network": ["network 2", "network 3"]} if sizes[0] == 3 else {}
    draw(made_up(*sizes, grid=4, groups=groups), tmp_path)
    for name, figure in figures.items():
        words.clear()
        FigureCanvasAgg(figure).draw()
        assert len(words) > 3
        for i, (word, box) in enumerate(words):
            # a dot of tolerance: boxes are a little larger than what is in them
            assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, f"{name}: {word} is cut"
            assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, f"{name}: {word} is cut"
            for other, there in words[:i]:
                across = min(box.x1, there.x1) - max(box.x0, there.x0)
                down = min(box.y1, there.y1) - max(box.y0, there.y0)
                assert across <= 1 or down <= 1, f"{name}: {word} lies on {other}"
