import importlib.util

import pytest
import torch
from torch import nn

from ignite_kd.errors import UserError
from ignite_kd.formats import FORMATS, format_of


@pytest.mark.parametrize(
    ("word", "path", "name"),
    [
        (None, "a/net.th", "weights"),
        (None, "net", "weights"),
        (None, "net.pt2", "torch-export"),
        (None, "NET.PT2", "torch-export"),
        ("weights", "net.pt2", "weights"),
        ("torch-export", "net.th", "torch-export"),
    ],
)
def test_the_suffix_says_the_format_unless_it_is_named(word, path, name):
    assert format_of(word, path) == name


@pytest.mark.parametrize("missing", [["onnx", "onnxscript", "onnxruntime"], ["onnxscript"]])
def test_missing_packages_are_named_with_what_to_install(monkeypatch, missing):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else name)
    with pytest.raises(UserError, match=rf"^onnx needs {', '.join(missing)}; .*pip install {' '.join(missing)}$"):
        format_of(None, "net.onnx")


class Branching(nn.Module):
    def forward(self, images):
        return images.flatten(1) if images.sum() > 0 else -images.flatten(1)


def test_a_network_that_torch_export_cannot_take_is_one_line():
    with pytest.raises(UserError, match=r"^torch\.export cannot take mine \(.*\); take --format weights\.$") as error:
        FORMATS["torch-export"].write(Branching(), torch.ones(2, 3, 4, 4), "mine")
    assert "\n" not in str(error.value)


def test_a_program_takes_any_number_of_images(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).eval()
    form = FORMATS["torch-export"]
    (tmp_path / "net.pt2").write_bytes(form.write(network, torch.zeros(2, 3, 2, 2), "mine"))
    call = form.load(tmp_path / "net.pt2", lambda: network)
    for n in (1, 2, 7):
        images = torch.randn(n, 3, 2, 2)
        assert torch.equal(call(images), network(images))
