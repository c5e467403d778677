import numpy as np
import pytest
import torch
from PIL import Image

from ignite_kd import data
from ignite_kd.comparison.runs import Run
from ignite_kd.concepts.candidates import candidates_of
from ignite_kd.concepts.masks import central_box, masks_on_grid
from ignite_kd.errors import UserError
from ignite_kd.layouts import Content


def run(dataset="shapes", **more):
    return Run(path="run", weights="run.th", model="mlp_8", content=Content({}), known=None, dataset=dataset, **more)


@pytest.fixture(scope="module")
def shapes():
    return data.load("shapes")


@pytest.fixture
def tree(tmp_path):
    """Ten grey photographs of 20×30, and a segmentation of each whose left half is the object."""
    for i in range(10):
        for part in ("train", "val"):
            path = tmp_path / "photos" / part / f"class{i % 2}" / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 20), (20 * i,) * 3).save(path, quality=100)
        path = tmp_path / "segmentations" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat([[255] * 15 + [0] * 15], 20, 0).astype(np.uint8)).save(path)
    return tmp_path


@pytest.mark.parametrize("part", ["train", "test"])
def test_images_have_the_names_of_their_places(shapes, part):
    found = candidates_of(run(), part, 7, seed=3)
    source = shapes.train if part == "train" else shapes.test
    places = [int(name.removeprefix(f"{part}-")) for name in found.names]
    assert len(set(places)) == 7
    assert torch.equal(found.pictures(found.names[::-1]), source.images[places[::-1]])
    x = (source.images[places[2]].double() / 255 - 0.5) / 0.277
    torch.testing.assert_close(found.normalised([found.names[2]], "dataset")[0].double(), x, atol=1e-6, rtol=0)
    assert torch.equal(found.masks, source.masks[places])
    assert (found.classes, found.image_size, found.digest) == (10, 32, shapes.digest())


def test_the_seed_alone_chooses_and_fewer_are_a_part_of_more():
    many = candidates_of(run(), "test", 30, seed=0).names
    assert candidates_of(run(), "test", 10, seed=0).names == many[:10]
    assert candidates_of(run(), "test", 10, seed=1).names != many[:10]
    assert len(candidates_of(run(), "test", 10**6, seed=0).names) == 2000


def test_masks_by_each_rule(shapes):
    found = candidates_of(run(), "test", 5, seed=0)
    rules = {"auto": "half", "published": "top-left"} | {rule: rule for rule in ("half", "any", "interior")}
    for rule, same in rules.items():
        masks, words = found.on_grid(rule, 8)
        assert all(torch.equal(*pair) for pair in zip(masks, masks_on_grid(found.masks, 8, same), strict=True)), rule
        assert words.startswith("object where")
    assert torch.equal(found.on_grid("box", 8)[0][0], central_box(5, 8)[0])
    assert found.on_grid("none", 8)[0] is None
    with pytest.raises(UserError, match="did you mean 'half'"):
        found.on_grid("halv", 8)
    with pytest.raises(UserError, match="no masks that could be expanded"):
        found.on_grid("box", 8, expanded=10)


def test_a_folder_of_images_with_segmentations(tree):
    where = {"data_dir": str(tree / "photos")}
    found = candidates_of(
        run("folder", image_size=16, **where), "train", 6, seed=0, mask_dir=str(tree / "segmentations")
    )
    assert len(found.names) == 6 and found.names[0].startswith("train/class") and found.classes == 2
    number = int(found.names[0].split("/")[-1].removesuffix(".jpg"))
    assert found.pictures(found.names[:1]).unique().tolist() == [20 * number]
    grey = (20 * number / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(found.normalised(found.names[:1], "dataset")[0, :, 0, 0], grey, atol=1e-5, rtol=0)
    foreground = found.on_grid("half", 4)[0][0]
    assert foreground[0].tolist() == [[True, True, False, False]] * 4
    assert candidates_of(run("folder", image_size=16, **where), "test", 6, seed=0).names[0].startswith("val/")


def test_what_is_not_there_is_said(tree):
    folder = run("folder", image_size=16, data_dir=str(tree / "photos"))
    with pytest.raises(UserError, match="folder has no masks; take --masks box"):
        candidates_of(folder, "train", 6, seed=0).on_grid("any", 4)
    with pytest.raises(UserError, match="which data set it learned"):
        candidates_of(run(None), "train", 6, seed=0)
    with pytest.raises(UserError, match="--mask-dir is for folders"):
        candidates_of(run(), "train", 6, seed=0, mask_dir=str(tree))
    (tree / "segmentations" / "class1" / "3.png").unlink()
    with pytest.raises(UserError, match=r"no masks for 1 of 10 images \(class1/3.jpg"):
        candidates_of(folder, "train", 10, seed=0, mask_dir=str(tree / "segmentations"))


def test_images_are_cut_as_the_run_cut_them(tmp_path):
    """The outer columns of a wide photograph are white: cut away where the middle is taken, there where all is."""
    for part in ("train", "val"):
        path = tmp_path / part / "one" / "wide.png"
        path.parent.mkdir(parents=True)
        pixels = np.zeros((20, 60, 3), dtype=np.uint8)
        pixels[:, :15] = pixels[:, 45:] = 255
        Image.fromarray(pixels).save(path)
    for views, brightest in (("usual", 0), ("squash", 255)):
        found = candidates_of(run("folder", image_size=20, data_dir=str(tmp_path), views=views), "train", 1, seed=0)
        assert found.pictures(found.names).max() == brightest


@pytest.mark.parametrize("views", ["usual", "squash"])
@pytest.mark.parametrize("size", [24, 64])
def test_a_mask_lies_on_its_photograph_however_that_is_cut(tmp_path, views, size):
    """The photograph is white on the object and black elsewhere: its own mask."""
    for part in ("train", "val", "masks"):
        path = tmp_path / (part if part == "masks" else f"photos/{part}") / "one" / "disc.png"
        path.parent.mkdir(parents=True)
        y, x = np.ogrid[:96, :160]
        Image.fromarray((255 * ((y - 30) ** 2 + (x - 100) ** 2 < 20**2)).astype(np.uint8)).save(path)
    told = run("folder", image_size=size, data_dir=str(tmp_path / "photos"), views=views)
    found = candidates_of(told, "train", 1, seed=0, mask_dir=str(tmp_path / "masks"))
    assert torch.equal(found.masks, found.pictures(found.names)[:, 0] > 0)
