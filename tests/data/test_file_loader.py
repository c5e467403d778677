from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.multiprocessing import active_children
from torchvision.transforms import v2

from ignite_kd.data.file_list import FileList
from ignite_kd.data.file_loader import FileLoader
from ignite_kd.data.order import Order
from ignite_kd.errors import UserError

N, BATCH, LENGTH = 22, 4, 6
RANDOM = v2.Compose([v2.RandomCrop(8, padding=2), v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32)])


@pytest.fixture
def files(tmp_path):
    (tmp_path / "ant").mkdir()
    random = np.random.default_rng(0)
    for i in range(N):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "ant" / f"{i:02}.png")
    return FileList.find(tmp_path, {"ant": 0}, (".png",))


def loader(files, workers=0, transform=RANDOM, shuffle=True, batch_size=BATCH) -> FileLoader:
    return FileLoader(files, transform, Order(len(files), batch_size, shuffle, seed=3), workers, 8)


def same(one, other):
    return len(one) == len(other) and all(all(map(torch.equal, a, b)) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_pass_is_the_same_with_any_number_of_workers_whatever_passes_were_given_up_before(files, workers):
    plain = loader(files)
    epochs = [list(plain) for _ in range(4)]
    assert not same(epochs[0], epochs[1])
    helped = loader(files, workers)
    next(iter(helped))
    assert same(list(helped), epochs[0])
    assert same(list(helped), epochs[1])
    list(islice(helped, LENGTH - 1))
    assert same(list(helped), epochs[2])
    helped.seek(LENGTH + 4)  # back, while epoch 3 is being decoded already
    assert same(list(helped), epochs[1][4:])
    assert same(list(islice(helped, LENGTH)), epochs[2])  # ignite leaves at the last batch
    helped.seek(3 * LENGTH)
    assert same(list(helped), epochs[3])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("iteration", [1, 6, 11])
def test_a_loader_put_at_any_iteration_goes_on_like_one_that_never_stopped(files, workers, iteration):
    plain, resumed = loader(files), loader(files, workers)
    never_stopped = [batch for _ in range(3) for batch in plain]
    resumed.seek(iteration)
    rest = [batch for _ in range(3 - iteration // LENGTH) for batch in resumed]
    assert same(rest, never_stopped[iteration:])


class Counted(nn.Module):
    """A transform that counts the images in memory that processes share."""

    def __init__(self):
        super().__init__()
        self.count = torch.zeros(1, dtype=torch.int64).share_memory_()

    def forward(self, image):
        self.count += 1
        return v2.functional.pil_to_tensor(image)


def test_the_next_epoch_is_decoded_while_nobody_asks_for_it_yet(files):
    transform = Counted()
    training = loader(files, 1, transform)
    list(training)
    deadline = time.monotonic() + 20
    while transform.count < N + BATCH and time.monotonic() < deadline:
        time.sleep(0.01)
    assert transform.count >= N + BATCH


def test_of_a_pass_in_order_nothing_more_is_decoded(files):
    transform = Counted()
    evaluation = loader(files, 1, transform, shuffle=False)
    for _ in range(2):
        assert torch.cat([batch.indices for batch in evaluation]).tolist() == list(range(N))
    assert transform.count == 2 * N


@pytest.mark.parametrize("workers", [0, 1])
def test_after_a_damaged_image_is_mended_the_pass_begins_anew(files, workers):
    path, whole = Path(files[7][0]), Path(files[7][0]).read_bytes()
    training, expected = loader(files, workers), list(loader(files))
    path.write_bytes(whole[:60])
    with pytest.raises(UserError, match=r"07\.png cannot be read \(it is damaged or no image\); repair it") as error:
        list(training)
    assert "\n" not in str(error.value)
    path.write_bytes(whole)
    assert same(list(training), expected)


SIGNALS_TO_ALL = """
import os, signal, sys
from multiprocessing import active_children, get_context
from pathlib import Path
from torchvision.transforms.v2 import PILToTensor
from ignite_kd.data.file_list import FileList
from ignite_kd.data.file_loader import FileLoader
from ignite_kd.data.order import Order


def passes():
    files = FileList.find(Path(sys.argv[1]), {"ant": 0}, (".png",))
    loader = FileLoader(files, PILToTensor(), Order(len(files), 4, True, seed=3), 1, 8)
    for _ in range(2):
        print(sum(len(batch.labels) for batch in loader))
        for worker in active_children():
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(worker.pid, number)

if __name__ == "__main__":
    other = get_context("spawn").Process(target=passes)
    other.start()
    other.join()
    passes()
"""


def test_signals_to_all_of_a_job_leave_the_workers_to_their_trainer_and_they_end_with_it(files, tmp_path):
    script = tmp_path / "signals_to_all.py"
    script.write_text(SIGNALS_TO_ALL)
    command = [sys.executable, str(script), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for _ in range(3):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        if "terminate called without an active exception" not in done.stderr:
            break  # else torch's C++ aborted a worker that had done its work: rare, at its exit, and not what is asked
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{N}\n" * 4, "")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc")
def test_memory_does_not_grow_with_the_epochs(tmp_path):
    first = tmp_path / "0" / "0.png"
    first.parent.mkdir()
    Image.new("RGB", (8, 8)).save(first)
    for i in range(1, 20_000):
        os.link(first, first.with_name(f"{i}.png"))
    found = FileList.find(tmp_path, {"0": 0}, (".png",))
    training = loader(found, 1, v2.PILToTensor(), batch_size=50)
    others, used = {child.pid for child in active_children()}, []
    for epoch in range(5):
        training.seek(epoch * len(training) + len(training) - 15)  # the last 15 batches of each will do
        assert sum(len(batch.labels) for batch in training) == 750
        workers = {child.pid for child in active_children()} - others
        assert len(workers) == 1
        used.append(sum(map(_resident, [os.getpid(), *workers])))
    assert max(used[2:]) - used[1] < 2 * 2**20


def _resident(process: int) -> int:
    """Bytes of memory that a process has; unlike its own share, they do not change when another one ends."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))


def test_single_images_are_those_of_the_files(files):
    whole = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32)])
    found = loader(files, transform=whole).images([5, 0, 5])
    for image, i in zip(found, (5, 0, 5), strict=True):
        assert image.permute(1, 2, 0).numpy().tolist() == np.asarray(Image.open(files[i][0])).tolist()
    Path(files[2][0]).write_bytes(b"torn")
    with pytest.raises(UserError, match=r"02\.png cannot be read"):
        loader(files).images([0, 2])
