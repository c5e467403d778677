import struct
import sys

import pytest
import torch

from ignite_kd.errors import UserError
from ignite_kd.handlers import plots

RUNS = {
    "kd": [
        {"epoch": 1, "train/loss": 2.0, "validation/loss": 2.5, "train/accuracy": 0.1, "validation/accuracy": 0.2},
        {"epoch": 2, "train/loss": 1.0, "train/accuracy": 0.3},  # an epoch without evaluation
        {"epoch": 3, "train/loss": 0.5, "validation/loss": 1.5, "train/accuracy": 0.6, "validation/accuracy": 0.5},
    ],
    "plain": [{"epoch": 1, "train/loss": 3.0}],
}


def png_size(path):
    """Width and height, from the header that the PNG specification gives every file."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR" and content[-8:-4] == b"IEND"
    return struct.unpack(">II", content[16:24])


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, for a look at what is in them."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    found, save = [], figure.savefig

    def savefig(self, *args, **kwargs):
        found.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(figure, "savefig", savefig)
    return found


def test_curves_show_what_was_recorded(tmp_path, figures):
    plots.plot_curves(RUNS, tmp_path / "new" / "curves.png")
    assert png_size(tmp_path / "new" / "curves.png") == (1200, 480)
    (figure,) = figures
    loss, accuracy = figure.axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in loss.lines}
    assert lines == {
        "kd, train": ([1, 2, 3], [2.0, 1.0, 0.5]),
        "kd, validation": ([1, 3], [2.5, 1.5]),
        "plain, train": ([1], [3.0]),
    }
    assert [line.get_label() for line in accuracy.lines] == ["kd, train", "kd, validation"]
    assert list(accuracy.lines[1].get_ydata()) == [0.2, 0.5]
    colours = {line.get_label(): line.get_color() for line in loss.lines}
    assert colours["kd, train"] == colours["kd, validation"] != colours["plain, train"]
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")


def test_a_single_epoch_is_seen(tmp_path, figures):
    plots.plot_curves(RUNS, tmp_path / "curves.png")
    marks = {line.get_label(): line.get_marker() for line in figures[0].axes[0].lines}
    assert marks == {"kd, train": "None", "kd, validation": "None", "plain, train": "o"}


@pytest.mark.parametrize(("published", "explained"), [((None, 80.0), 1), ((None, None), 0)])
def test_marks_are_explained_where_both_kinds_are(tmp_path, figures, published, explained):
    panels = {name: [("vid", number, 81.0, None)] for name, number in zip(("100", "500"), published, strict=True)}
    plots.plot_published("a table", panels, tmp_path / "table.png")
    assert [axes.get_legend() is not None for axes in figures[0].axes] == [explained == 0, explained == 1]


def test_runs_without_an_epoch_are_empty_axes(tmp_path, figures):
    plots.plot_curves({"young": []}, tmp_path / "curves.png")
    assert png_size(tmp_path / "curves.png") == (1200, 480)
    assert [len(axes.lines) for axes in figures[0].axes] == [0, 0]


@pytest.mark.parametrize("images", [torch.arange(36 * 16, dtype=torch.uint8), torch.linspace(0, 1, 36 * 16)])
def test_images_stand_in_a_grid_with_their_titles(tmp_path, figures, images):
    images = images.reshape(12, 3, 4, 4)
    plots.plot_images(images, [f"image {i}" for i in range(12)], tmp_path / "sheet.png")
    assert png_size(tmp_path / "sheet.png") == (1200, 300)  # ten columns, two rows
    axes = figures[0].axes
    assert [a.get_title() for a in axes] == [f"image {i}" for i in range(12)]
    for image, place in zip(images, axes, strict=True):
        drawn = torch.as_tensor(place.images[0].get_array())
        assert torch.equal(drawn[1, 2].to(image.dtype), image[:, 1, 2])  # rows and columns are not exchanged


def test_without_matplotlib_one_line_says_what_to_install(tmp_path, monkeypatch):
    assert plots.available()
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not plots.available()
    words = r"plots need matplotlib; install it with: pip install matplotlib$"
    with pytest.raises(UserError, match=words):
        plots.plot_curves(RUNS, tmp_path / "curves.png")
    with pytest.raises(UserError, match=words):
        plots.plot_images(torch.zeros(1, 3, 4, 4), [""], tmp_path / "sheet.png")
    assert not list(tmp_path.iterdir())


def test_work_does_not_fail_by_its_picture(tmp_path):
    said = []
    (tmp_path / "file").touch()
    for name, folder in ((r"$\foo$", tmp_path), ("kd", tmp_path / "file")):  # no formula; no folder
        curves = {name: RUNS["plain"]}
        plots.attempt(lambda curves=curves, path=folder / "a.png": plots.plot_curves(curves, path), said.append)
    assert [line.startswith("warning: no picture: ") and "\n" not in line for line in said] == [True, True]
    assert plots.attempt(lambda: ["a.png"], said.append) == ["a.png"] and len(said) == 2
