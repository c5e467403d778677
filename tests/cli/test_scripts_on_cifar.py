"""The two scripts on the official CIFAR-10 files, 200 steps each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CIFAR = os.environ.get("IGNITE_KD_CIFAR")
pytestmark = pytest.mark.skipif(not CIFAR, reason="IGNITE_KD_CIFAR does not name a folder with the CIFAR files")

STEPS = "--samples-per-class 640 --recipe vid,batch_size=32,validation_images=500 --max-epochs 1 --device cpu"


def run(script, words, folder):
    command = [sys.executable, ROOT / script, *words.split(), *STEPS.split(), "--data-dir", CIFAR]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_hundred_steps_of_both_scripts_teach_something(tmp_path):
    alone = run("train_without_transfer.py", "--depth 10 --width 1 --output-dir teacher", tmp_path)
    transfer = "--student-depth 10 --student-width 1 --teacher-depth 10 --teacher-width 1 --output-dir student"
    taught = run("train_with_transfer.py", transfer, tmp_path)
    assert "cifar10: 6400 images to learn from, 500 to validate, 10 classes" in alone
    assert "0.1 vid" in taught
    for folder, weights in (("teacher", "teacher.th"), ("student", "student_with_transfer.th")):
        (line,) = (json.loads(line) for line in (tmp_path / folder / "metrics.jsonl").read_text().splitlines())
        assert line["iteration"] == 200
        assert (tmp_path / "state_dict" / weights).exists()
        results = json.loads((tmp_path / folder / "run.json").read_text())["results"]
        assert results["test"]["last"]["accuracy"] > 0.2  # a tenth is chance
