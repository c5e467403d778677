from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import functional as tv

from ignite_kd.data.folder import folder_loaders, folder_to_evaluate
from ignite_kd.errors import UserError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def root(tmp_path):
    random = np.random.default_rng(0)
    for part, count in [("train", 9), ("val", 4)]:
        for name in ("ant", "bee", "cow"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


def load(root, batch_size=4, **options):
    return folder_loaders(root, batch_size, **{"num_workers": 0, **options})


def test_samples_and_classes_are_those_of_torchvisions_image_folder(root):
    data = load(root)
    assert list(data.train.samples) == datasets.ImageFolder(str(root / "train")).samples
    assert list(data.validation.samples) == datasets.ImageFolder(str(root / "val")).samples
    assert list(data.classes) == datasets.ImageFolder(str(root / "train")).classes
    assert data.test is None


def test_every_image_comes_exactly_once_an_epoch_with_its_label(root):
    data = load(root)
    batches = list(data.train)
    indices = torch.cat([batch.indices for batch in batches])
    assert len(batches) == len(data.train) == 7
    assert sorted(indices.tolist()) == list(range(27))
    labels = [data.train.samples[i][1] for i in indices]
    assert torch.cat([batch.labels for batch in batches]).tolist() == labels


def test_evaluation_resizes_and_crops_the_centre(root):
    (batch,) = load(root, batch_size=12).validation
    for image, (path, _) in zip(batch.images, datasets.ImageFolder(str(root / "val")).samples, strict=True):
        picture = tv.center_crop(tv.resize(Image.open(path), 32), 32)
        assert torch.allclose(image, tv.normalize(tv.to_tensor(picture), MEAN, STD), atol=1e-5)


def test_the_test_part_is_read_where_there_is_one(root):
    shutil.copytree(root / "val", root / "test")
    data = load(root)
    assert data.test is not None and len(data.test.samples) == 12


@pytest.mark.parametrize("image_size", [16, 64])
def test_the_number_of_workers_changes_nothing(root, image_size):
    def bits(workers):
        loader = load(root, num_workers=workers, image_size=image_size).train
        return [tensor for _ in range(2) for batch in loader for tensor in batch]

    alone, helped = bits(0), bits(2)
    assert alone[0].shape == (4, 3, image_size, image_size)
    assert len(alone) == len(helped) == 42
    assert all(map(torch.equal, alone, helped))


@pytest.mark.parametrize("iteration", [3, 7, 12])
def test_a_loader_put_at_any_iteration_goes_on_like_one_that_never_stopped(root, iteration):
    never_stopped = [batch for loader in [load(root).train] for _ in range(2) for batch in loader]
    resumed = load(root).train
    resumed.seek(iteration)
    for a, b in zip(resumed, never_stopped[iteration:], strict=False):
        assert all(map(torch.equal, a, b))


def test_an_image_is_transformed_anew_each_epoch(root):
    loader = load(root, batch_size=27).train
    first, second = (next(iter(loader)) for _ in range(2))
    by_index = [batch.images[batch.indices.argsort()] for batch in (first, second)]
    same = (by_index[0] == by_index[1]).flatten(1).all(1)
    assert same.sum() < 5


def test_the_ranks_together_see_the_batches_of_a_single_process(root):
    ranks = [load(root, batch_size=13, rank=rank, world_size=2).train for rank in (0, 1)]
    for whole, *shares in zip(load(root, batch_size=13).train, *ranks, strict=True):
        for tensor, *parts in zip(whole, *shares, strict=True):
            assert torch.equal(tensor, torch.cat(parts))


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_numbers_are_neither_used_nor_moved(root, workers):
    before = torch.random.get_rng_state()
    list(load(root, num_workers=workers).train)
    assert torch.equal(before, torch.random.get_rng_state())


def test_evaluation_may_have_a_batch_size_of_its_own(root):
    shutil.copytree(root / "val", root / "test")
    data = load(root, batch_size=4, evaluation_batch_size=12)
    assert (len(data.train), len(data.validation), len(data.test)) == (7, 1, 1)
    assert len(load(root, batch_size=4).validation) == 3


def test_fewer_samples_per_class_are_a_part_of_more(root):
    few, more = (load(root, samples_per_class=m).train.samples for m in (2, 5))
    assert set(few) < set(more)
    assert [label for _, label in few] == [0, 0, 1, 1, 2, 2]
    with pytest.raises(UserError, match="10 images of each class were asked for; 'ant' allows 1 to 9"):
        load(root, samples_per_class=10)


def test_the_digest_tells_data_apart(root):
    before = load(root).digest
    assert before == load(root).digest
    (root / "val" / "bee" / "0.png").unlink()
    assert before != load(root).digest


def test_fewer_images_are_of_the_same_data_and_the_same_ones_for_each_seed(root):
    few, other, whole = load(root, samples_per_class=2), load(root, samples_per_class=2, seed=1), load(root)
    assert few.digest == other.digest == whole.digest == folder_to_evaluate(root, "val", 4, num_workers=0)[2]
    assert list(few.train.samples) == list(other.train.samples)


def test_classes_are_counted_as_in_training_where_validation_lacks_one(root):
    shutil.rmtree(root / "val" / "bee")
    assert sorted({label for _, label in load(root).validation.samples}) == [0, 2]


def test_a_missing_train_folder_is_named(root):
    shutil.rmtree(root / "train")
    with pytest.raises(UserError, match=r"there is no folder .*train"):
        load(root)


def test_a_train_folder_without_classes_is_named(root):
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    with pytest.raises(UserError, match="has no classes"):
        load(root)


def test_an_empty_class_is_named(root):
    (root / "train" / "dog").mkdir()
    with pytest.raises(UserError, match="dog has no image"):
        load(root)


def test_a_class_that_training_lacks_is_named(root):
    (root / "val" / "dog").mkdir()
    with pytest.raises(UserError, match="a class that train lacks: dog"):
        load(root)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_in_one_line(root, workers):
    (root / "val" / "bee" / "2.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bee.2\.png cannot be read") as error:
        list(load(root, num_workers=workers).validation)
    assert "\n" not in str(error.value)


def test_sixteen_bits_a_pixel_become_eight(root):
    deep = np.full((16, 16), 100 * 256 + 37, dtype=np.uint16)
    Image.fromarray(deep).save(root / "val" / "ant" / "0.png")
    batch = next(iter(load(root, batch_size=1, image_size=16).validation))
    expected = (torch.full((3,), 100 / 255) - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(batch.images[0, :, 8, 8], expected)


def squeezed(path, edge):
    return tv.normalize(tv.to_tensor(tv.resize(Image.open(path), [edge, edge])), MEAN, STD)


@pytest.mark.parametrize("views", ["squash", "squash-crop", "strong"])
def test_evaluation_sees_the_whole_image_where_it_is_squeezed(root, views):
    (batch,) = load(root, batch_size=12, image_size=64, views=views).validation
    for image, (path, _) in zip(batch.images, datasets.ImageFolder(str(root / "val")).samples, strict=True):
        assert torch.allclose(image, squeezed(path, 64), atol=1e-5)


def test_squashed_images_are_learned_from_as_they_are(root):
    data = load(root, image_size=64, views="squash")
    for batch in data.train:
        for image, index in zip(batch.images, batch.indices, strict=True):
            assert torch.allclose(image, squeezed(data.train.samples[index][0], 64), atol=1e-5)


def test_augmented_images_are_parts_of_the_larger_square_perhaps_flipped(root):
    data, flipped = load(root, image_size=56, views="squash-crop"), 0
    for batch in data.train:
        for image, index in zip(batch.images, batch.indices, strict=True):
            larger = squeezed(data.train.samples[index][0], 64)
            for whole in (larger, larger.flip(2)):
                parts = whole.unfold(1, 56, 1).unfold(2, 56, 1)  # every place of the part: 9 × 9
                found = torch.isclose(parts, image[:, None, None], atol=1e-5).all(dim=(0, 3, 4)).any()
                if found:
                    flipped += whole is not larger
                    break
            else:
                pytest.fail("no part of the larger square")
    assert 0 < flipped < 27


def test_strong_views_differ_from_each_other_and_unknown_ones_are_refused(root):
    loader = load(root, image_size=56, views="strong").train
    one, other = ({int(i): t for b in loader for i, t in zip(b.indices, b.images, strict=True)} for _ in range(2))
    assert not any(torch.equal(one[i], other[i]) for i in range(27))
    with pytest.raises(UserError, match="unknown views 'squish'; did you mean 'squash'"):
        load(root, views="squish")


def test_one_class_is_refused(root):
    for part in ("train", "val"):
        shutil.rmtree(root / part / "ant")
        shutil.rmtree(root / part / "bee")
    with pytest.raises(UserError, match=r"train has but one class, cow; add the folder of another one"):
        load(root)
