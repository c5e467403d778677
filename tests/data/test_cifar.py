from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from torchvision import datasets

from ignite_kd import data
from ignite_kd.errors import UserError

NAMES = ["airplane", "cat"]


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of 2 images a file under tmp_path/here, with torchvision's md5 sums changed to its own."""
    folder = tmp_path / "here" / datasets.CIFAR10.base_folder
    folder.mkdir(parents=True)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(i):
        pixels = np.random.default_rng(i).integers(0, 256, (2, 3072), dtype=np.uint8)
        return {"data": pixels, "labels": [i % 2, 1]}

    train = [[name, write(name, batch(i))] for i, (name, _) in enumerate(datasets.CIFAR10.train_list)]
    test = [["test_batch", write("test_batch", batch(9))]]
    meta = {**datasets.CIFAR10.meta, "md5": write("batches.meta", {"label_names": NAMES})}
    archive = tmp_path / datasets.CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=datasets.CIFAR10.base_folder)
    for name, value in [("train_list", train), ("test_list", test), ("meta", meta)]:
        monkeypatch.setattr(datasets.CIFAR10, name, value)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    return folder.parent


@pytest.fixture
def server(cifar, tmp_path, monkeypatch):
    """CIFAR-10 comes from a server on this machine."""
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *args: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{datasets.CIFAR10.filename}"
        monkeypatch.setattr(datasets.CIFAR10, "url", url)
        monkeypatch.setattr("urllib.request.urlopen", urlopen)
        yield server
        server.shutdown()
        thread.join()


def no_network(*args, **kwargs):
    raise URLError("there is no network in this test")


def assert_like_torchvision(ours, root):
    for part, train in [(ours.train, True), (ours.test, False)]:
        theirs = getattr(datasets, ours.name.upper())(root, train=train, download=False)
        assert torch.equal(part.images, torch.from_numpy(theirs.data).permute(0, 3, 1, 2))
        assert part.labels.tolist() == theirs.targets and part.labels.dtype == torch.int64
        assert list(ours.classes) == theirs.classes


def test_what_is_loaded_is_what_torchvision_loads(cifar):
    assert_like_torchvision(data.load("cifar10", cifar), cifar)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_real_data_set_is_what_torchvision_loads(name):
    if not (root := os.environ.get("IGNITE_KD_CIFAR")):
        pytest.skip("IGNITE_KD_CIFAR does not name a directory with CIFAR in it")
    ours = data.load(name, root, download=False)
    assert ours.num_classes == int(name.removeprefix("cifar"))
    assert_like_torchvision(ours, root)
    for channel, mean, std in zip(ours.train.images.unbind(1), ours.mean, ours.std, strict=True):
        levels, counts = torch.arange(256) / 255, channel.flatten().bincount(minlength=256) / channel.numel()
        assert (levels * counts).sum() == pytest.approx(mean, abs=5e-4)
        assert ((levels - mean) ** 2 * counts).sum().sqrt() == pytest.approx(std, abs=1e-3)


def test_a_damaged_file_is_named_not_opened_and_not_replaced(cifar):
    path = cifar / datasets.CIFAR10.base_folder / "data_batch_3"
    path.write_bytes(pickle.dumps(Bomb()))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"data_batch_3 is damaged.*remove .*cifar-10-batches-py") as error:
        data.load("cifar10", cifar)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before and not Bomb.opened


class Bomb:
    opened = False

    def __setstate__(self, state):
        Bomb.opened = True

    def __getstate__(self):
        return {"anything": 1}


def test_a_missing_file_is_named(cifar):
    (cifar / datasets.CIFAR10.base_folder / "test_batch").unlink()
    with pytest.raises(UserError, match="test_batch is missing"):
        data.load("cifar10", cifar)


def test_without_a_download_nothing_is_fetched(cifar, tmp_path):
    with pytest.raises(UserError, match=r"cifar10 is not in .*allow the download"):
        data.load("cifar10", tmp_path / "nowhere", download=False)
    assert not (tmp_path / "nowhere").exists()


def test_an_archive_that_is_there_is_unpacked_without_a_network(cifar, tmp_path, capsys):
    loaded = data.load("cifar10", tmp_path, download=False)
    assert_like_torchvision(loaded, cifar)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["here", datasets.CIFAR10.filename, datasets.CIFAR10.base_folder]
    )


def test_a_damaged_archive_is_named_and_kept(cifar, tmp_path):
    archive = tmp_path / datasets.CIFAR10.filename
    archive.write_bytes(b"half of it")
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz is damaged"):
        data.load("cifar10", tmp_path)
    assert archive.read_bytes() == b"half of it"


def test_a_download_says_where_from_and_where_to(cifar, server, tmp_path, capsys):
    loaded = data.load("cifar10", tmp_path / "new" / "data")
    assert_like_torchvision(loaded, cifar)
    told = capsys.readouterr().err.splitlines()[0]
    assert told == f"downloading cifar10 from {datasets.CIFAR10.url} to {tmp_path / 'new' / 'data'}"
    assert [p.name for p in (tmp_path / "new" / "data").iterdir()] == [datasets.CIFAR10.base_folder]


def test_a_download_without_a_network_is_one_line_and_leaves_nothing_half_done(cifar, tmp_path):
    with pytest.raises(UserError, match=r"could not be downloaded .*no network in this test.*try again") as error:
        data.load("cifar10", tmp_path / "new")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_download_that_is_not_the_data_set_is_refused(cifar, server, tmp_path):
    (tmp_path / datasets.CIFAR10.filename).write_bytes(b"something else")
    with pytest.raises(UserError, match="could not be downloaded"):
        data.load("cifar10", tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(cifar, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="file"):
        data.load("cifar10", tmp_path / "file" / "data")


def test_a_name_nobody_knows_is_met_with_the_nearest():
    with pytest.raises(UserError, match="unknown data set 'cifar1O'; did you mean 'cifar10'"):
        data.load("cifar1O")
    assert data.names() == ("cifar10", "cifar100", "shapes", "folder")


def test_a_folder_is_read_by_its_own_loaders():
    with pytest.raises(UserError, match="folder_loaders"):
        data.load("folder")
