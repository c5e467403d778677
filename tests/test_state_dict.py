"""The weights that are shipped."""

import os
import re
from pathlib import Path

import pytest
from commands import call

from ignite_kd import load_weights, models
from ignite_kd.cards import read_card

CIFAR = os.environ.get("IGNITE_KD_CIFAR")
FOLDER = Path(__file__).resolve().parents[1] / "state_dict"
README = (FOLDER / "README.md").read_text()
FILES = [FOLDER / name for name in re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_what_its_card_and_the_read_me_say(path):
    card = read_card(path)
    assert card is not None  # its sha256 is right
    load_weights(models.build(card["model"], card["num_classes"]), path)
    (told,) = re.findall(rf"^\| `{path.name}` .* \| ([\d.]+)% \|$", README, re.MULTILINE)
    assert float(told) == round(100 * card["results"]["test"]["last"]["accuracy"], 2)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.skipif(not CIFAR, reason="IGNITE_KD_CIFAR does not name a folder with the CIFAR files")
def test_evaluate_finds_what_the_card_says(path):
    done = call(f"evaluate {path} --data-dir {CIFAR}")
    assert done.status == 0 and "matches its card" in done.out, done.out + done.err


def test_they_are_not_many():
    assert FILES and sum(path.stat().st_size for path in FILES) < 40e6
