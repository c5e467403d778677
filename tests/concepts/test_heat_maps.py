from itertools import pairwise

import pytest
import torch
from explained import DISTANCES, EPOCHS, explained, explanation, made_up
from worked_examples import worked_maps

from ignite_kd.concepts.heat_maps import heat_maps

pytest.importorskip("matplotlib")


@pytest.fixture
def figures(monkeypatch):
    """Name of the file → the figure."""
    found = {}
    monkeypatch.setattr(
        "ignite_kd.concepts.heat_maps.save_figure", lambda figure, path: found.update({path.name: figure})
    )
    return found


def panels(figure):
    """Rows of axes, without the colour bar."""
    axes = [axes for axes in figure.axes if axes.get_subplotspec() and axes.get_label() != "<colorbar>"]
    columns = axes[0].get_subplotspec().get_gridspec().ncols
    return [axes[i : i + columns] for i in range(0, len(axes), columns)]


def test_the_maps_concepts_and_outline_of_the_worked_example(tmp_path, figures):
    (picture,) = heat_maps(explanation(), tmp_path)
    rows = panels(figures["maps-1.png"])
    assert [axes.get_title() for axes in rows[0]] == ["image", "epoch 0", "epoch 2", "epoch 5", "epoch 10"]
    for i, row in enumerate(rows):
        for t, axes in enumerate(row[1:]):
            assert torch.equal(torch.as_tensor(axes.images[0].get_array().data), worked_maps()[i, t])
    dots = [[len(axes.collections[0].get_offsets()) for axes in row[1:]] for row in rows]
    assert dots == [[0, 3, 3, 5], [0, 4, 8, 4], [0, 3, 3, 3]]  # N_fg + N_bg of the worked example
    # a square of 2 × 2 cells has eight sides, and the object's rows 0 and 1 reach three borders of the image
    assert [len(row[0].collections[0].get_segments()) for row in rows] == [8, 12, 16]
    assert (
        "the line is the outline of the object's cells. Shown are all images;" in picture.reading
        and "0, 2, 5, 10" in picture.alt
    )


def test_a_dot_lies_in_the_middle_of_its_cell(tmp_path, figures):
    maps = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    maps[0, 0, 1, 3] = -1  # row 1, column 3
    cells = torch.zeros(1, 4, 4, dtype=torch.bool)
    cells[0, 1] = True
    list(heat_maps(explanation(explained("a", maps, cells, [7], (0.0,)), foreground=cells), tmp_path))
    (row,) = panels(figures["maps-1.png"])
    assert row[1].collections[0].get_offsets().tolist() == [[3.5, 1.5]]


def test_all_networks_are_on_one_scale(tmp_path, figures):
    list(heat_maps(explanation(explained(), explained("dark", worked_maps() + 3)), tmp_path))
    scales = {axes.images[0].get_clim() for f in figures.values() for row in panels(f) for axes in row[1:]}
    ((low, high),) = scales
    assert low < -3 and high > 0


def test_without_masks_there_is_no_outline(tmp_path, figures):
    (picture,) = heat_maps(explanation(explained(masks=False), masks=False), tmp_path)
    assert all(not row[0].collections for row in panels(figures["maps-1.png"]))
    assert "outline" not in picture.reading


@pytest.mark.parametrize(("images", "checkpoints", "rows", "columns"), [(1, 1, 1, 2), (9, 22, 6, 6), (2, 5, 2, 6)])
def test_some_images_and_checkpoints_stand_for_many(tmp_path, figures, images, checkpoints, rows, columns):
    (picture,) = heat_maps(made_up(1, images, checkpoints), tmp_path)
    shown = panels(figures["maps-1.png"])
    assert len(shown) == rows and {len(row) for row in shown} == {columns}
    assert shown[0][1].get_title() == "epoch 0"
    assert shown[0][-1].get_title() == f"epoch {10 * (checkpoints - 1)}"
    assert ("the first 6 of 9 images" in picture.reading) == (images == 9)
    assert ("after epochs 0, 50, 100, 160, 210 (kept were 0, 10, 20, " in picture.reading) == (checkpoints == 22)


def test_the_border_of_a_box_is_not_called_the_objects_outline(tmp_path, figures):
    (picture,) = heat_maps(explanation(settings={"masks": "the central box is the object"}), tmp_path)
    assert "the border of the central box" in picture.reading and "outline" not in picture.reading


def test_other_seeds_stand_aside(tmp_path, figures):
    networks = [explained(name) for name in ("a-0", "a-1", "b")]
    found = heat_maps(explanation(*networks, groups={"a": ["a-0", "a-1"]}), tmp_path)
    assert [picture.aside for picture in found] == [False, True, False]


def test_maps_that_are_all_equal_or_no_numbers_can_be_drawn(tmp_path):
    cells = torch.zeros(1, 4, 4, dtype=torch.bool)
    cells[0, 0] = True
    for value in (-2.0, torch.nan):
        maps = torch.full((1, 1, 4, 4), value, dtype=torch.float64)
        list(heat_maps(explanation(explained("a", maps, cells, [0], (0.0,)), foreground=cells), tmp_path))


@pytest.mark.parametrize(("span", "checkpoints"), [(0.3, 1), (0.3, 2), (0.35, 3)])
def test_the_numbers_of_a_narrow_scale_stand_apart(tmp_path, figures, span, checkpoints):
    """Spans that give many ticks of two decimals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    steps = torch.linspace(0, 1, 3 * checkpoints * 16, dtype=torch.float64).view(3, checkpoints, 4, 4)
    network = explained("a", -2.68 - span * steps, None, EPOCHS[:checkpoints], DISTANCES[:checkpoints])
    list(heat_maps(explanation(network), tmp_path))
    figure = figures["maps-1.png"]
    FigureCanvasAgg(figure).draw()
    (bar,) = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    low, high = bar.get_xlim()
    ticks = [tick for tick in bar.get_xticklabels() if low <= tick.get_position()[0] <= high]
    boxes = [tick.get_window_extent(figure.canvas.get_renderer()) for tick in ticks]
    assert len(boxes) >= 2
    assert all(right.x0 - left.x1 > 5 for left, right in pairwise(boxes))
