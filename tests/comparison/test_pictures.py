import pytest
from compared import comparison, row

from ignite_kd.comparison.pictures import draw

pytest.importorskip("matplotlib")


@pytest.fixture
def figures(monkeypatch):
    """Name of the file → the figure."""
    found = {}
    monkeypatch.setattr(
        "ignite_kd.comparison.pictures.save_figure", lambda figure, path: found.update({path.name: figure})
    )
    return found


def test_files_are_written_for_what_there_is_to_see(tmp_path):
    assert draw(comparison(row("one", [0.5, 1.0]), row("two", [1.0, 0.5])), tmp_path) == [
        "curves.png", "classes.png", "reliability.png", "cka.png",
    ]  # fmt: skip
    for name in ("curves.png", "classes.png", "reliability.png", "cka.png"):
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    bare = comparison(row("one", [0.5, 1.0], curves=[], alignment=None))
    assert draw(bare, tmp_path / "bare") == ["classes.png", "reliability.png"]


def test_pictures_show_the_numbers(tmp_path, figures):
    names = ["one", "two", "three", "four", "five"]
    draw(comparison(*(row(name, [0.5, i / 10]) for i, name in enumerate(names))), tmp_path)
    (classes,) = figures["classes.png"].axes
    assert [t.get_text() for t in classes.get_legend().get_texts()] == names[1:]
    assert [bar.get_height() for bar in classes.containers[1]] == pytest.approx([0, 20])
    assert [t.get_text() for t in classes.get_xticklabels()] == ["cat", "dog"]
    reliability = figures["reliability.png"]
    assert len(reliability.axes) == 5 and reliability.axes[4].get_subplotspec().rowspan.start == 1
    (bars,) = reliability.axes[0].containers
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0, 0.5), (0.5, 0.5)]
    assert bars[1].get_height() == 0.5
    heat = figures["cka.png"].axes[0]
    assert heat.images[0].get_array()[1, 0] == 0.9
    assert [t.get_text() for t in heat.get_xticklabels()] == ["b", "c"]
    assert [t.get_text() for t in heat.get_yticklabels()] == ["a", "b"]


def test_of_a_run_alone_the_accuracies_are_shown(tmp_path, figures):
    draw(comparison(row("one", [0.5, 0.25])), tmp_path)
    (classes,) = figures["classes.png"].axes
    assert [bar.get_height() for bar in classes.containers[0]] == [50, 25]
