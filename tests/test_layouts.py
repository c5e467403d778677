"""Files as other codes write them; their names by tables that stand here alone (methods.md 6.4, 6.5)."""

import argparse

import numpy as np
import pytest
import torch
from oracles import fill
from torch import nn

from ignite_kd import load_weights, models
from ignite_kd.errors import UserError
from ignite_kd.layouts import Content, read, rename
from ignite_kd.recognise import recognise

SMALL = ["resnet8", "wrn_10_2"]
OTHERS = ["resnet8x4", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "ResNet50"]


def network(name, base=7, classes=100):
    return fill(models.build(name, classes), base).float()


def theirs(name, state):
    """RepDistiller's names differ for wide residual networks alone."""
    if not name.startswith("wrn"):
        return dict(state)
    table = {"layer1": "block1", "layer2": "block2", "layer3": "block3", "conv_shortcut": "convShortcut"}
    return {".".join(table.get(word, word) for word in key.split(".")): t for key, t in state.items()}


def before(prefix, state):
    return {prefix + key: t for key, t in state.items()}


def zeros(state):
    return {key: torch.zeros_like(t) for key, t in state.items()}


OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.05, "params": [0]}]}
NAMESPACE = argparse.Namespace(model="x", distill="kd", lr_decay_epochs=[150, 180, 210], n_gpu=1)

LAYOUTS = {
    "RepDistiller, an epoch": (
        lambda s: {"epoch": 240, "model": s, "accuracy": torch.tensor([75.61]), "optimizer": OPTIMIZER},
        {"epoch": 240, "accuracy": pytest.approx(75.61)},
    ),
    "RepDistiller, the best": (
        lambda s: {"epoch": 212, "model": s, "best_acc": torch.tensor(75.5)},
        {"epoch": 212, "best_acc": 75.5},
    ),
    "RepDistiller, the last": (lambda s: {"opt": NAMESPACE, "model": s}, {}),
    "seed 002": (lambda s: before("module.", s), {}),
    "mdistiller, a distiller": (
        lambda s: {
            "epoch": 240,
            "model": before("module.student.", s)
            | before("module.teacher.", zeros(s))
            | {"module.conv_reg.weight": torch.zeros(3)},
            "optimizer": OPTIMIZER,
            "best_acc": np.float32(76.5),
        },
        {"epoch": 240, "best_acc": 76.5},
    ),
    "mdistiller, the student": (lambda s: {"model": s}, {}),
    "ReviewKD": (lambda s: before("student.", s) | {"abfs.0.conv1.0.weight": torch.zeros(2, 2, 1, 1)}, {}),
    "HSAKD": (
        lambda s: {
            "net": before("backbone.", s) | {"auxiliary_classifier.block_extractor1.0.weight": torch.zeros(2, 2)},
            "acc": np.float64(77.25),
            "epoch": 239,
        },
        {"acc": 77.25, "epoch": 239},
    ),
    "torchdistill": (
        lambda s: {
            "model": s,
            "optimizer": OPTIMIZER,
            "lr_scheduler": {"milestones": {5: 1}, "last_epoch": 7},
            "best_value": 70.5,
            "args": argparse.Namespace(config="x.yaml"),
        },
        {"best_value": 70.5},
    ),
}


EVERY = [(name, layout) for name in SMALL for layout in LAYOUTS]
EVERY += [(name, layout) for name in OTHERS for layout in ("RepDistiller, an epoch", "HSAKD")]


@pytest.mark.parametrize(("name", "layout"), EVERY)
def test_a_file_of_every_code_gives_the_weights_of_every_family_and_is_recognised(tmp_path, name, layout):
    as_saved, meta = LAYOUTS[layout]
    state = {k: t for k, t in network(name).state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(as_saved(theirs(name, state)), tmp_path / "w.pth")
    model = network(name, base=8)
    assert load_weights(model, tmp_path / "w.pth").meta == meta
    loaded = model.state_dict()
    assert all(torch.equal(loaded[key], t) for key, t in state.items())
    assert recognise(rename(read(tmp_path / "w.pth")).state)[:2] == (name, 100)


def flat(state):
    """attention-transfer's names: counted from 0, convolutions without `.weight`."""
    renamed = {}
    for key, tensor in state.items():
        words = key.split(".")
        if key == "conv1.weight":
            new = "conv0"
        elif words[0] == "bn1":
            new = f"bn.{words[1]}"
        elif words[0] == "fc":
            new = key
        else:
            table = {"conv1": "conv0", "conv2": "conv1", "bn1": "bn0", "bn2": "bn1", "conv_shortcut": "convdim"}
            group, _, block, module, entry = words
            new = f"group{int(group[-1]) - 1}.block{block}.{table[module]}"
            new += f".{entry}" if module.startswith("bn") else ""
        renamed[new] = tensor
    return renamed


@pytest.mark.parametrize("name", ["wrn_16_1", "wrn_10_2"])
@pytest.mark.parametrize("apart", [False, True], ids=["all in params", "statistics apart"])
def test_the_flat_dictionary_of_attention_transfer_is_a_wide_residual_network(tmp_path, name, apart):
    state = {k: t for k, t in network(name).state_dict().items() if not k.endswith("num_batches_tracked")}
    params = flat(state)
    content = {"params": params, "epoch": 199, "optimizer": OPTIMIZER}
    if apart:
        content["stats"] = {k: params.pop(k) for k in list(params) if "running" in k}
    torch.save(content, tmp_path / "model.pt7")
    model = network(name, base=8)
    found = load_weights(model, tmp_path / "model.pt7")
    assert (found.layout, found.meta) == ("state dict under 'params', attention-transfer's names", {"epoch": 199})
    assert all(torch.equal(model.state_dict()[key], t) for key, t in state.items())
    assert recognise(rename(read(tmp_path / "model.pt7")).state)[:2] == (name, 100)


def test_a_file_of_torchvision_is_read_as_it_is(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    source = resnet18(num_classes=10).eval()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    images = torch.randn(2, 3, 64, 64)
    for name in ("torchvision:resnet18", "ResNet18"):
        model = models.build(name, 10)
        assert load_weights(model, tmp_path / "w.pth").layout == "state dict"
        assert torch.allclose(model.eval()(images), source(images), atol=1e-5)


def test_the_names_that_densenet_had_before_are_read_too():
    state = {"features.denseblock1.denselayer1.norm.1.weight": torch.ones(1), "classifier.weight": torch.ones(1, 1)}
    assert list(rename(Content(state)).state) == [
        "features.denseblock1.denselayer1.norm1.weight",
        "classifier.weight",
    ]


def test_a_backbone_is_taken_out_of_what_stands_beside_auxiliary_networks_alone():
    """A file of a detector is not taken for a classifier."""
    state = {"backbone.fc.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert rename(Content(state)).state == state


def test_a_teachers_file_of_another_code_that_does_not_fit_is_told_in_one_line(tmp_path):
    content = {"net": before("backbone.", network("resnet8").state_dict()), "acc": 70.0}
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"looks like resnet8 with 100 classes, not like vgg8 with 100 classes; name"):
        load_weights(models.build("vgg8", 100), tmp_path / "w.pth")


def test_a_whole_module_under_net_is_refused(tmp_path):
    torch.save({"net": nn.Linear(2, 2), "acc": 1.0}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"holds more than tensors \(torch\.nn"):
        read(tmp_path / "w.pth")
