import os

import pytest
from commands import call

CIFAR = os.environ.get("IGNITE_KD_CIFAR")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def bit_equal(done, kills):
    assert done.status == 0, done.out + done.err
    told, *lines = done.out.splitlines()
    assert len(told.split("killed at step ")[1].split(" (")[0].split(", ")) == kills
    assert {line.split()[0] for line in lines} >= {"student", "model", "optimizer", "head.vid", "means", "metrics"}
    assert all(line.endswith("bit-equal") for line in lines)


def test_a_student_that_was_killed_twice_and_resumed_has_the_same_bits(tmp_path):
    bit_equal(call("verify-resume --kills 2"), kills=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not CIFAR, reason="IGNITE_KD_CIFAR does not name a folder with the CIFAR files")
def test_the_same_on_cifar():
    bit_equal(call(f"verify-resume --dataset cifar10 --max-epochs 2 --data-dir {CIFAR}"), kills=1)
