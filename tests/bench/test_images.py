import os

import pytest
import torch

from ignite_kd.bench.images import images_for, random_images

CIFAR = os.environ.get("IGNITE_KD_CIFAR")


def test_where_no_files_are_the_images_are_random_and_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR100.__init__", lambda *_, **__: pytest.fail("a download"))
    found, source = images_for("cifar100", tmp_path)
    assert source == "random" and found.name == "cifar100" and found.num_classes == 100
    assert found.train.images.shape == (50_000, 3, 32, 32) and found.train.images.dtype == torch.uint8
    assert set(found.train.labels.tolist()) == set(range(100))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not CIFAR, reason="IGNITE_KD_CIFAR does not name a folder with the CIFAR files")
def test_where_files_are_the_images_are_theirs():
    found, source = images_for("cifar10", CIFAR)
    assert source == "real" and found.classes[0] == "airplane" and len(found.train) == 50_000


def test_generated_images_are_called_so(tmp_path):
    assert images_for("shapes", tmp_path)[1] == "generated"


def test_random_images_are_the_same_each_time():
    one, other = (random_images("cifar10", 10, train=20, test=4) for _ in range(2))
    assert one.digest() == other.digest() and one.train.images.float().std() > 70  # of 0 … 255, all alike: 73.9
