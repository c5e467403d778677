import pytest
import torch
from PIL import Image

from ignite_kd import data
from ignite_kd.comparison.held_out import held_out, refuse_other_data
from ignite_kd.comparison.runs import Run
from ignite_kd.data.split import SplitSpec, split
from ignite_kd.errors import UserError
from ignite_kd.layouts import Content

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shapes():
    return data.load("shapes")


def run(path="run", **known):
    return Run(
        path=path, weights=path, model="mlp_8", content=Content({}), known=None, **({"dataset": "shapes"} | known)
    )


def kept(shapes, spec):
    parts = split(shapes.train.labels, spec)
    return parts, {"digest": shapes.digest(), "classes": 10, "split": parts.to_json()}


def shown(runs, teachers=(), part="test", images=None, data_dir=None):
    return held_out(runs, teachers, part, images, data_dir, 0, CPU)


def everything(loader):
    images, labels = zip(*((batch.images, batch.labels) for batch in loader), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_the_test_set_comes_whole_in_random_order_and_a_part_of_it_is_its_beginning(shapes):
    whole = shown([run()])
    assert (whole.images, whole.of, whole.image_size, whole.notes) == (2000, 2000, 32, ())
    images, labels = everything(whole.loaders["dataset"])
    assert labels.bincount().tolist() == shapes.test.labels.bincount().tolist()
    assert min(batch.labels.bincount(minlength=10).min() for batch in list(whole.loaders["dataset"])[:-1]) > 5
    some = shown([run()], images=100)
    assert (some.images, some.of) == (100, 2000)
    assert torch.equal(everything(some.loaders["dataset"])[0], images[:100])
    assert shown([run()], images=5000).images == 2000


def test_each_recipe_sees_the_same_images_as_it_normalises_them(shapes):
    found = shown([run(), run("zoo", normalisation="zoo")], images=20)
    usual, zoo = (everything(found.loaders[word])[0] for word in ("dataset", "zoo"))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (shapes.mean, shapes.std))
    numbers = ((0.4814, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))  # seed 002
    zoo_mean, zoo_std = (torch.tensor(values).view(3, 1, 1) for values in numbers)
    assert torch.allclose(usual * std + mean, zoo * zoo_std + zoo_mean, atol=1e-6)


def test_validation_is_what_all_runs_kept_apart(shapes):
    (one, told), (other, told_too) = kept(shapes, SplitSpec(900)), kept(shapes, SplitSpec(500, seed=1))
    both = sorted(set(one.validation.tolist()) & set(other.validation.tolist()))
    found = shown([run("a", data=told), run("b", data=told_too)], part="validation")
    assert found.images == len(both) > 10
    images, labels = everything(found.loaders["dataset"])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (shapes.mean, shapes.std))
    bytes_ = ((images * std + mean) * 255).round().byte().flatten(1)
    expected = shapes.train.images[torch.tensor(both)].flatten(1)
    assert {bytes(row.tolist()) for row in bytes_} == {bytes(row.tolist()) for row in expected}
    assert sorted(labels.tolist()) == sorted(shapes.train.labels[both].tolist())


def test_what_a_run_or_its_teacher_started_from_counts_as_they_do(shapes):
    (one, told), (other, told_too) = kept(shapes, SplitSpec(900)), kept(shapes, SplitSpec(500, seed=1))
    both = set(one.validation.tolist()) & set(other.validation.tolist())
    assert shown([run("a", data=told, data_before=[told_too])], part="validation").images == len(both)
    with pytest.raises(UserError, match="what a started from does not say which images"):
        shown([run("a", data=told, data_before=[{}])], part="validation")
    seen = 900 - len(both)
    note = f"t learned from {seen} of the 900 images, which flatter it"
    assert shown([run(data=told)], [run("t", data=told, data_before=[told_too])], "validation").notes == (note,)
    (note,) = shown([run(data=told)], [run("t", data=told, data_before=[{}])], "validation").notes
    assert note.startswith("nothing says which images t learned from")


def test_a_teacher_that_saw_validation_images_is_told_of(shapes):
    mine, told = kept(shapes, SplitSpec(500))
    theirs, foreign = kept(shapes, SplitSpec(500, seed=1))
    seen = len(set(mine.validation.tolist()) & set(theirs.train.tolist()))
    teachers = [run("good.th", data=told), run("foreign.th", data=foreign), run("silent.th")]
    notes = shown([run(data=told)], teachers, part="validation").notes
    assert notes[0] == f"foreign.th learned from {seen} of the 500 images, which flatter it"
    assert len(notes) == 2 and "silent.th" in notes[1]


def test_where_nothing_was_kept_apart_the_test_set_is_named(shapes):
    for known in ({}, kept(shapes, SplitSpec(0))[1], kept(shapes, SplitSpec(500))[1] | {"digest": "other"}):
        with pytest.raises(UserError, match="--on test"):
            shown([run(data=known)], part="validation")


def test_data_that_is_other_than_that_of_the_runs_is_told_of():
    (note,) = shown([run(data={"digest": "feed"})]).notes
    assert "other data" in note and "feed" in note


def test_a_teacher_of_other_data_is_told_of(shapes):
    mine = {"digest": shapes.digest()}
    teachers = [run("t.th", data={"digest": "feed"}), run("u.th", data=mine), run("v.th")]
    (note,) = shown([run(data=mine)], teachers).notes
    assert note == "t.th learned from other data than its students; its classes may be others"


def test_a_folder_is_read_in_random_order(tmp_path):
    for tree in ("train", "val"):
        for label in range(2):
            (tmp_path / tree / f"class{label}").mkdir(parents=True)
            for i in range(20):
                Image.new("RGB", (8, 8), (label, i, 0)).save(tmp_path / tree / f"class{label}" / f"{i}.png")
    folder = run(dataset="folder", image_size=8, data_dir=str(tmp_path))
    found = shown([folder], part="validation")
    assert (found.images, found.classes, found.image_size) == (40, ("class0", "class1"), 8)
    labels = everything(found.loaders["dataset"])[1].tolist()
    assert sorted(labels) == [0] * 20 + [1] * 20 != labels
    some = shown([folder], part="validation", images=7)
    assert everything(some.loaders["dataset"])[1].tolist() == labels[:7]
    assert (some.images, some.of) == (7, 40)
    with pytest.raises(UserError, match="test"):
        shown([folder])


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [
        ({}, {"dataset": "cifar10"}, "data set"),
        ({"data": {"classes": 10}}, {"data": {"classes": 5}}, "number of classes"),
        ({"data": {"digest": "a"}}, {"data": {"digest": "b"}}, "content"),
        ({"dataset": "folder", "image_size": 8}, {"dataset": "folder", "image_size": 16}, "image size"),
        ({"dataset": "folder", "views": "usual"}, {"dataset": "folder", "views": "squash"}, "way to cut images"),
    ],
)
def test_other_data_is_refused(one, other, word):
    refuse_other_data([run("a", **one), run("c", dataset=one.get("dataset", "shapes"))], [run("t", dataset=None)])
    with pytest.raises(UserError, match=f"share the {word}.*, but a has .* and b has"):
        refuse_other_data([run("a", **one), run("b", **other)], [])


def test_nobody_knows_the_data():
    with pytest.raises(UserError, match="which data set"):
        shown([run(dataset=None)])
