import pytest
import torch
from PIL import Image

from ignite_kd.concepts.masks import central_box, mask_files, masks_on_grid, read_segmentation
from ignite_kd.data import load
from ignite_kd.errors import UserError

# one object on 6 × 6 pixels, 3 × 3 cells of 4 pixels
MASK = torch.tensor(
    [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1],
    ]
)[None].bool()


def cells(rows):
    return torch.tensor([[letter == "#" for letter in row] for row in rows.split()])[None]


@pytest.mark.parametrize(
    ("rule", "foreground", "background"),
    [
        ("any", "##. .## .##", None),
        ("half", ".#. .#. ...", None),
        ("interior", "... .#. ...", "..# #.. #.."),
        ("top-left", "... .#. ...", None),
    ],
)
def test_the_rules_by_hand(rule, foreground, background):
    on, off = masks_on_grid(MASK, 3, rule)
    assert torch.equal(on, cells(foreground))
    assert torch.equal(off, ~on if background is None else cells(background))


def test_coverage_of_cells_of_unequal_size_is_exact():
    """Seven pixels on three cells: 3, 2 and 2."""
    mask = torch.zeros(1, 7, 7)
    mask[0, :2, :3] = 255  # 6 of 9 pixels
    mask[0, 3, 3] = 1  # 1 of 4
    assert masks_on_grid(mask, 3, "half")[0].nonzero().tolist() == [[0, 0, 0]]
    assert masks_on_grid(mask, 3, "any")[0].nonzero().tolist() == [[0, 0, 0], [0, 1, 1]]


def test_the_pixels_that_the_released_code_reads():
    side = torch.zeros(224, dtype=torch.bool)
    read = set(range(0, 211, 14))
    side[list(read)] = True
    assert masks_on_grid((side[:, None] & side)[None], 16, "top-left")[0].all()
    other = ~(side[:, None] | side)[None]
    assert not masks_on_grid(other, 16, "top-left")[0].any()
    enlarged = torch.zeros(1, 224, 224)
    enlarged[0, [12, 24, 37, 199], [12, 37, 24, 199]] = 1
    found = masks_on_grid(enlarged, 16, "top-left", expanded=18)[0]
    assert found.nonzero()[:, 1:].tolist() == [[0, 0], [1, 2], [2, 1], [15, 15]]


def test_the_central_box():
    on, off = central_box(2, 16)
    assert on.sum((1, 2)).tolist() == [144, 144] and off.sum((1, 2)).tolist() == [112, 112]
    assert on[1].any(0).nonzero().flatten().tolist() == list(range(2, 14))
    assert central_box(1, 8)[0].sum() == 36


def test_the_masks_of_shapes_are_exact():
    images = load("shapes").test
    on, off = masks_on_grid(images.masks[:50], 8, "any")
    each = images.masks[:50].view(50, 8, 4, 8, 4).any(4).any(2)
    assert torch.equal(on, each) and torch.equal(off, ~each)


def test_a_segmentation_is_read_as_the_released_code_does(tmp_path):
    grey = Image.new("L", (20, 10))
    grey.paste(1, (10, 0, 20, 10))  # the right half, of the faintest grey
    grey.save(tmp_path / "bird.png")
    found = read_segmentation(tmp_path / "bird.png", 8)
    assert torch.equal(found > 0, torch.arange(8).ge(4).expand(8, 8))
    padded = read_segmentation(tmp_path / "bird.png", 24, "voc")  # 24 × 12 before: two pixels of nothing, one above
    lit = padded > 0
    assert lit[12].nonzero().flatten().tolist() == list(range(12, 22)) and not lit[:2].any() and not lit[22:].any()


def test_masks_are_found_by_the_names_of_their_photographs(tmp_path):
    (tmp_path / "robin").mkdir()
    (tmp_path / "robin" / "one.v2.png").touch()
    assert mask_files(tmp_path, ["robin/one.v2.jpg"]) == [tmp_path / "robin" / "one.v2.png"]
    with pytest.raises(UserError, match=r"no masks for 1 of 2 images \(robin/two.jpg"):
        mask_files(tmp_path, ["robin/one.v2.jpg", "robin/two.jpg"])
    with pytest.raises(UserError, match="missing or no image"):
        read_segmentation(tmp_path / "robin" / "one.v2.png", 8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, "halve"), "did you mean 'half'"),
        ((3, "half", 5), "rule top-left, not with half"),
        ((3, "top-left", 4), "the middle of one of 5, 7"),
        ((7, "half"), "finer than images of 6 pixels"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        masks_on_grid(MASK, *arguments)
