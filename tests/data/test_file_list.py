from __future__ import annotations

import gc
import hashlib
import io
import os
import pickle
from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageFolder

from ignite_kd.data.file_list import FileList
from ignite_kd.errors import UserError

LABELS = {"ant": 0, "bee": 1, "cow": 2}
DEEP = ["ant/deep/er/1.png", "ant/deep/2.png", "ant/deep-2/3.png"]
NAMES = ["ant/b.png", "ant/a.JPG", *DEEP, "bee/ün.png", "cow/0.png"]


@pytest.fixture
def tree(tmp_path):
    for size, name in enumerate([*NAMES, "bee/notes.txt"]):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return tmp_path / "train"


def find(tree: Path) -> FileList:
    return FileList.find(tree, LABELS, (".png", ".jpg"))


def test_files_and_their_order_are_those_of_torchvisions_image_folder(tree):
    expected = ImageFolder(str(tree)).samples
    assert len(expected) == len(NAMES)
    assert list(find(tree)) == expected
    assert find(tree).labels.tolist() == [label for _, label in expected]


def test_a_name_that_is_no_text_is_kept_byte_by_byte(tree):
    name = os.fsencode(tree / "bee") + b"/\xff\xfe.png"
    Path(os.fsdecode(name)).touch()
    assert name in [os.fsencode(path) for path, _ in find(tree)]


def test_a_relative_folder_gives_relative_paths(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert list(find(Path("."))) == ImageFolder(".").samples


def test_a_subset_is_those_at_the_indices_in_that_order(tree):
    files = find(tree)
    assert list(files.subset(torch.tensor([4, 0]))) == [files[4], files[0]]


def test_the_digest_is_of_names_labels_and_sizes(tree):
    expected, found = hashlib.sha256(), hashlib.sha256()
    for path, label in ImageFolder(str(tree)).samples:
        line = f"{Path(path).relative_to(tree.parent).as_posix()} {label} {Path(path).stat().st_size}\n"
        expected.update(line.encode())
    find(tree).add_to(found)
    assert found.hexdigest() == expected.hexdigest()


def test_no_file_is_opened(tree, monkeypatch):
    opened = []
    monkeypatch.setattr("builtins.open", lambda *args, **_: opened.append(args))
    monkeypatch.setattr(io, "open", lambda *args, **_: opened.append(args))
    monkeypatch.setattr(os, "open", lambda *args, **_: opened.append(args))
    assert len(find(tree)) == len(NAMES) and not opened


def test_a_link_to_nothing_is_named_in_one_line(tree):
    (tree / "cow" / "1.png").symlink_to(tree / "gone.png")
    with pytest.raises(UserError, match=r"cow.1\.png cannot be read \(No such file or directory\); repair it") as error:
        find(tree)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tree):
    (tree / "cow").chmod(0)
    with pytest.raises(UserError, match="cow cannot be read"):
        find(tree)


def test_no_files_are_an_empty_list(tree):
    assert len(FileList.find(tree, LABELS, (".gif",))) == 0


def test_it_travels_to_a_process_that_is_started_afresh(tree):
    files = find(tree)
    assert list(pickle.loads(pickle.dumps(files))) == list(files)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc")
def test_looking_at_every_file_copies_nothing_into_a_worker():
    many = 50_000
    name = b"n01440764/n01440764_10026.JPEG"
    names = torch.frombuffer(bytearray(name * many), dtype=torch.uint8)
    places = torch.arange(many + 1).mul(len(name)).unfold(0, 2, 1)
    files = FileList(Path("train"), names, places, torch.arange(many) % 1000, torch.zeros(many, dtype=torch.int64))
    objects = list(files)
    assert _copied(objects) > 2 * 2**20  # so the measure sees it where it happens
    assert _copied(files) < 2**20


def _copied(samples) -> int:
    """Bytes of its own that a forked process has more after it has looked at all samples."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            gc.disable()  # it would look at everything that was ever imported
            samples[0]
            before = _own()
            for index in range(len(samples)):
                samples[index]
            os.write(writing, str(_own() - before).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        return int(answer.read())


def _own() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private"))
