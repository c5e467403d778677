import argparse
import hashlib
import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
import torchvision
from oracles import fill, h
from torch import nn

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.weights import describe, load_trunk, load_weights, read_card, save_weights


def network(base, name="wrn_10_1", **settings):
    return fill(models.build(name, **settings), base).float()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def plain(state):
    return state


def vid_student(state):
    """What the released code's student saves: its variances first, its branches last."""
    variances = {f"variance_param{i}": h((c, 1, 1), i).float() for i, c in enumerate((16, 32, 64), 1)}
    branches = {
        f"branch{i}.{j}.weight": h((c, c, 1, 1), 9).float() for i, c in enumerate((16, 32, 64), 1) for j in range(2)
    }
    return variances | state | branches


def in_names_of_repdistiller(state):
    return {
        re.sub(r"^layer(\d)\.", r"block\1.", k).replace("conv_shortcut", "convShortcut"): v for k, v in state.items()
    }


def repdistiller(state):
    return {"epoch": 240, "model": in_names_of_repdistiller(state), "best_acc": torch.tensor([75.5]), "optimizer": {}}


def wrapped(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


def mdistiller(state):
    state = in_names_of_repdistiller(state)
    student = {f"module.student.{name}": tensor for name, tensor in state.items()}
    teacher = {f"module.teacher.{name}": torch.zeros_like(tensor) for name, tensor in state.items()}
    return {"epoch": 3, "model": student | teacher | {"module.regressor.weight": torch.zeros(3)}, "best_acc": 70.0}


def torchdistill(state):
    return {"model": state, "best_value": 70.5, "args": argparse.Namespace(lr=0.1, config="x.yaml")}


MODEL = "state dict under 'model'"
PREFIX = "'module.' before the names"
LAYOUTS = {
    "state dict": (plain, {}),
    "state dict, the released VID student's branches and variances dropped": (vid_student, {}),
    f"{MODEL}, RepDistiller's names": (repdistiller, {"epoch": 240, "best_acc": 75.5}),
    f"state dict, {PREFIX}": (wrapped, {}),
    f"state dict, {PREFIX}, {PREFIX}": (lambda state: wrapped(wrapped(state)), {}),
    "state dict, '_orig_mod.' before the names": (lambda state: {f"_orig_mod.{k}": v for k, v in state.items()}, {}),
    f"{MODEL}, {PREFIX}, 'student.' before the names, the rest dropped, RepDistiller's names": (
        mdistiller,
        {"epoch": 3, "best_acc": 70.0},
    ),
    MODEL: (torchdistill, {"best_value": 70.5}),
    "state dict under 'state_dict'": (lambda state: {"arch": "wrn", "state_dict": state}, {"arch": "wrn"}),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "files before PyTorch 1.6"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_weights(tmp_path, layout, zipped):
    as_saved, meta = LAYOUTS[layout]
    state = network(7).state_dict()
    torch.save(as_saved(state), tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    model = network(8)
    assert not same(model.state_dict(), state)
    found = load_weights(model, tmp_path / "w.pt")
    assert same(model.state_dict(), state)
    assert (found.layout, found.meta) == (layout, meta)


@pytest.mark.parametrize("as_saved", [plain, vid_student, repdistiller, wrapped, mdistiller])
def test_files_of_old_versions_have_no_batch_counters_and_get_zeros(tmp_path, as_saved):
    state = {k: v for k, v in network(7).state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(as_saved(state), tmp_path / "w.pt")
    model = network(8)
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(5)
    load_weights(model, tmp_path / "w.pt")
    loaded = model.state_dict()
    counters = {name: loaded.pop(name) for name in list(loaded) if name.endswith("num_batches_tracked")}
    assert len(counters) == 7 and all(int(counter) == 0 for counter in counters.values())
    assert same(loaded, state)


def test_the_weights_of_a_network_whose_own_names_begin_with_module_or_student_are_not_renamed(tmp_path):
    for name in ("module", "student"):
        source, target = nn.ModuleDict({name: nn.Linear(2, 1)}), nn.ModuleDict({name: nn.Linear(2, 1)})
        torch.save(source.state_dict(), tmp_path / "w.pt")
        assert load_weights(target, tmp_path / "w.pt").layout == "state dict"
        assert same(source.state_dict(), target.state_dict())


def test_half_precision_is_read_into_the_precision_of_the_model(tmp_path):
    torch.save(
        {k: v.half() if v.is_floating_point() else v for k, v in network(7).state_dict().items()}, tmp_path / "w"
    )
    model = network(8)
    load_weights(model, tmp_path / "w")
    assert model.fc.weight.dtype is torch.float32
    assert torch.equal(model.fc.weight, network(7).fc.weight.half().float())


def without(name):
    return lambda state: {k: v for k, v in state.items() if k != name}


FIT = r"does not fit wrn_10_1 with 10 classes: "
REFUSALS = {
    "missing": (without("fc.bias"), FIT + r"missing: fc\.bias; name the network that it was saved from"),
    "unexpected": (lambda s: s | {"extra": torch.ones(1)}, FIT + "unexpected: extra; name"),
    "another shape": (
        lambda s: s | {"bn1.bias": torch.zeros(8)},
        FIT + r"of another shape: bn1\.bias \(8 instead of 64\); name",
    ),
    "all three": (
        lambda s: without("fc.bias")(s) | {"extra": torch.ones(1), "bn1.bias": torch.tensor(1.0)},
        FIT + r"missing: fc\.bias; unexpected: extra; of another shape: bn1\.bias \(one number instead of 64\); name",
    ),
    "a crowd": (
        lambda s: s | {f"extra{i}": torch.ones(1) for i in range(7)},
        FIT + "unexpected: extra0, extra1, extra2 and 4 more; name",
    ),
    "integers": (
        lambda s: s | {"fc.bias": torch.zeros(10, dtype=torch.int8)},
        FIT + r"of another shape: fc\.bias \(10 int8 instead of 10\)",
    ),
    "classes": (
        lambda s: network(7, num_classes=100).state_dict(),
        "looks like wrn_10_1 with 100 classes, not like wrn_10_1 with 10 classes; name that network, or another file",
    ),
    "width": (lambda s: network(7, "wrn_10_2").state_dict(), "looks like wrn_10_2 with 10 classes, not like wrn_10_1 "),
    "depth": (lambda s: network(7, "wrn_16_1").state_dict(), "looks like wrn_16_1 with 10 classes, not like wrn_10_1 "),
    "another family": (
        lambda s: network(7, "mlp_4").state_dict(),
        "looks like mlp_4 with 10 classes, not like wrn_10_",
    ),
    "repdistiller, width and classes": (
        lambda s: repdistiller(network(7, "wrn_16_2", num_classes=100).state_dict()),
        "looks like wrn_16_2 with 100 classes, not like wrn_10_1 with 10 classes",
    ),
    "unknown network": (
        lambda s: nn.Linear(2, 2).state_dict(),
        FIT + r"missing: conv1\.weight, .* more; unexpected: weight, bias; name",
    ),
    "NaN": (lambda s: s | {"bn1.bias": torch.full((64,), float("nan"))}, r"weights that are not finite \(bn1\.bias\)"),
    "infinity": (lambda s: s | {"fc.bias": torch.full((10,), float("inf"))}, r"that are not finite \(fc\.bias\)"),
    "a list": (lambda s: list(s.values()), "holds a list, but no state dict; torch.save the network's state_dict"),
    "nothing": (lambda s: {}, "holds a dict with nothing in it, but no state dict"),
    "plain values": (lambda s: {"epoch": 1, "lr": 0.1}, "holds a dict with epoch, lr, but no state dict"),
    "numbered tensors": (lambda s: {0: torch.ones(1)}, "holds a dict with 0, but no state dict"),
    "one tensor": (lambda s: torch.ones(2), "holds a Tensor, but no state dict"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_file_that_does_not_fit_is_refused_in_words_and_changes_nothing(tmp_path, case):
    spoil, words = REFUSALS[case]
    torch.save(spoil(network(7).state_dict()), tmp_path / "w.pt")
    model = network(8)
    with pytest.raises(UserError, match=words) as caught:
        load_weights(model, tmp_path / "w.pt")
    assert str(tmp_path / "w.pt") in str(caught.value) and "\n" not in str(caught.value)
    assert same(model.state_dict(), network(8).state_dict())


def test_a_network_that_is_not_from_here_is_named_by_its_class(tmp_path):
    torch.save({"weight": torch.ones(1, 2)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="does not fit Linear: missing: bias; name"):
        load_weights(nn.Linear(2, 1), tmp_path / "w.pt")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(
        UserError, match=r"cannot read .*nowhere\.pt: No such file or directory; check the path, or tra"
    ):
        load_weights(network(8), tmp_path / "nowhere.pt")
    with pytest.raises(UserError, match=f"cannot read {re.escape(str(tmp_path))}: it is a folder; name the file"):
        load_weights(network(8), tmp_path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "files before PyTorch 1.6"])
def test_a_file_torn_at_any_length_is_refused_and_changes_nothing(tmp_path, zipped):
    path = tmp_path / "w.pt"
    torch.save(network(7).state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    # the ends of records lie where a reader is most easily surprised: near both ends of the file
    lengths = {
        *range(24),
        *range(24, 8000, 331),
        *range(8000, len(content), 20_011),
        *(len(content) - i for i in (1, 9)),
    }
    lengths |= {len(content) - i for i in range(18, 66, 4)}
    # an old file torn within a name of its index has, for its reader, a Python object of a strange name
    torn = "is torn, or no file of torch.save; copy it again, or train that network again"
    model = network(8)
    for length in sorted(lengths):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=torn if zipped else f"{torn}|holds more than tensors"):
            load_weights(model, path)
    assert same(model.state_dict(), network(8).state_dict())


def test_a_bit_that_changed_on_the_way_is_noticed(tmp_path):
    torch.save(network(7).state_dict(), tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    weights = network(7).layer3.layer[0].conv2.weight.detach().numpy().tobytes()
    content[content.index(weights) + 100] ^= 1
    (tmp_path / "w.pt").write_bytes(content)
    torch.load(tmp_path / "w.pt", weights_only=True)  # which does not look
    with pytest.raises(UserError, match=r"is torn, or no file of torch\.save"):
        load_weights(network(8), tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"epoch,accuracy\n", b"PK\x03\x04", b"\x80\x02", b"\x00" * 64])
def test_a_file_of_something_else_is_no_file_of_weights(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"is torn, or no file of torch\.save"):
        load_weights(network(8), tmp_path / "w.pt")


class Trap:
    def __init__(self, call, argument):
        self.call, self.argument = call, argument

    def __reduce__(self):
        return self.call, (self.argument,)


@pytest.mark.parametrize("call", [os.mkdir, Path.touch], ids=["a blocked module", "an unknown class"])
def test_code_in_a_file_is_never_run(tmp_path, call):
    victim = tmp_path / "victim"
    trap = Trap(call, victim if call is Path.touch else str(victim))
    pickle.loads(pickle.dumps(trap))  # it would go off: what follows is no empty proof
    assert victim.exists()
    victim.rmdir() if victim.is_dir() else victim.unlink()

    state = network(7).state_dict()
    for zipped in (True, False):
        for content in (state | {"extra": trap}, {"model": state, "extra": trap}, trap):
            torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
            with pytest.raises(UserError, match=r"holds more than tensors \(\S+\); this package never"):
                load_weights(network(8), tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes(pickle.dumps(trap, 2))
    with pytest.raises(UserError):
        load_weights(network(8), tmp_path / "w.pt")
    assert not victim.exists()


def test_a_whole_network_is_a_python_object(tmp_path):
    torch.save(network(7), tmp_path / "w.pt")
    with pytest.raises(
        UserError, match=r"holds more than tensors \(ignite_kd\S+\); .* torch.save its state_dict\(\) alone"
    ):
        load_weights(network(8), tmp_path / "w.pt")


def test_a_namespace_is_read_for_torchdistill_alone(tmp_path):
    """Nothing that this package allows stays allowed for other callers of torch.load."""
    torch.save(torchdistill(network(7).state_dict()), tmp_path / "w.pt")
    load_weights(network(8), tmp_path / "w.pt")
    with pytest.raises(pickle.UnpicklingError, match="argparse"):
        torch.load(tmp_path / "w.pt", weights_only=True)


def test_networks_are_described_by_their_shapes():
    assert describe(models.build("wrn_22_2", num_classes=7).state_dict()) == "wrn_22_2 with 7 classes"
    assert describe(models.build("mlp_8", num_classes=3).state_dict()) == "mlp_8 with 3 classes"
    small = models.build("mlp_8", num_classes=3, hidden=2, image_size=8).state_dict()
    assert describe(small) == "mlp_8 with 3 classes, 2 hidden layers and 8×8 images"
    assert describe(nn.Linear(2, 2).state_dict()) is None
    assert describe(small | {"extra": torch.ones(1)}) is None  # almost is not exactly
    assert describe({}) is None


# saving


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_saved_weights_have_a_card_with_their_checksum(tmp_path):
    path = tmp_path / "new" / "student.th"
    save_weights(path, network(7).state_dict(), {"model": "wrn_10_1", "accuracy": 0.5})
    assert sorted(contents(path.parent)) == ["student.th", "student.th.json"]
    card = json.loads((path.parent / "student.th.json").read_text())
    assert card == {"model": "wrn_10_1", "accuracy": 0.5, "sha256": sha256(path)}
    assert read_card(path) == card
    assert same(torch.load(path, weights_only=True), network(7).state_dict())
    model = network(8)
    assert load_weights(model, path).layout == "state dict"
    assert same(model.state_dict(), network(7).state_dict())


def test_parameters_with_gradients_and_views_are_saved_as_their_values_alone(tmp_path):
    whole = torch.arange(10_000.0)
    save_weights(tmp_path / "w.th", {"a": nn.Parameter(whole[:2]), "b": whole[:6].reshape(2, 3).T}, {})
    found = torch.load(tmp_path / "w.th", weights_only=True)
    assert not found["a"].requires_grad and found["a"].tolist() == [0, 1]
    assert found["b"].tolist() == [[0, 3], [1, 4], [2, 5]] and found["b"].is_contiguous()


def test_other_weights_of_that_name_are_kept_with_their_card(tmp_path):
    path, previous = tmp_path / "w.th", tmp_path / "w.th.previous"
    save_weights(path, network(7).state_dict(), {"number": 1})
    first = path.read_bytes()
    save_weights(path, network(8).state_dict(), {"number": 2})
    assert previous.read_bytes() == first
    assert (read_card(previous)["number"], read_card(path)["number"]) == (1, 2)
    assert same(torch.load(path, weights_only=True), network(8).state_dict())


def test_the_same_weights_again_are_not_kept_twice(tmp_path):
    path = tmp_path / "w.th"
    save_weights(path, network(7).state_dict(), {"number": 1})
    assert save_weights(path, network(7).state_dict(), {"number": 2}) is None
    assert sorted(contents(tmp_path)) == ["w.th", "w.th.json"]
    assert read_card(path)["number"] == 2


def test_no_weights_that_were_kept_are_ever_overwritten(tmp_path):
    path = tmp_path / "w.th"
    kept = [save_weights(path, network(base).state_dict(), {"number": base}) for base in (7, 8, 9, 10)]
    assert kept == [None, *(tmp_path / f"w.th.previous{n}" for n in ("", "-2", "-3"))]
    for base, place in zip((7, 8, 9, 10), (*kept[1:], path), strict=True):
        assert read_card(place)["number"] == base
        assert same(torch.load(place, weights_only=True), network(base).state_dict())


def test_kept_weights_without_a_card_do_not_get_that_of_weights_before_them(tmp_path):
    path, previous = tmp_path / "w.th", tmp_path / "w.th.previous"
    torch.save(network(9).state_dict(), path)  # by somebody else, who knows no cards
    (tmp_path / "w.th.previous.json").write_text('{"number": 1}')  # its weights were deleted
    assert save_weights(path, network(10).state_dict(), {"number": 4}) == previous
    assert same(torch.load(previous, weights_only=True), network(9).state_dict())
    assert not (tmp_path / "w.th.previous.json").exists()
    assert read_card(path)["number"] == 4


@pytest.mark.parametrize("crash_at", [1, 2, 3, 4])
def test_a_crash_in_the_middle_loses_neither_weights_nor_a_card(tmp_path, monkeypatch, crash_at):
    path = tmp_path / "w.th"
    save_weights(path, network(7).state_dict(), {"number": 1})
    old = path.read_bytes()
    replace, calls = os.replace, []

    def crash(*names):
        calls.append(names)
        if len(calls) == crash_at:
            raise OSError("power failure")
        replace(*names)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(OSError, match="power failure"):
            save_weights(path, network(8).state_dict(), {"number": 2})
    assert len(calls) == crash_at
    found = contents(tmp_path)
    assert not any(name.endswith(".part") for name in found)
    # the old weights are still there with their own card, under one name or the other
    places = [name for name in ("w.th", "w.th.previous") if found.get(name) == old]
    assert any(json.loads(found.get(f"{name}.json", b"{}")).get("number") == 1 for name in places)
    load_weights(network(9), path)  # and what has the name is whole

    save_weights(path, network(8).state_dict(), {"number": 2})
    assert read_card(path)["number"] == 2
    assert read_card(tmp_path / "w.th.previous")["number"] == 1


# cards


def test_weights_without_a_card_have_none(tmp_path):
    torch.save({}, tmp_path / "w.th")
    assert read_card(tmp_path / "w.th") is None


def test_the_card_of_other_weights_is_not_used_and_that_is_said(tmp_path):
    path = tmp_path / "w.th"
    save_weights(path, network(7).state_dict(), {"number": 1})
    torch.save(network(8).state_dict(), path)
    with pytest.warns(UserWarning, match=r"w\.th\.json is the card of another file than .*w\.th: the checks"):
        assert read_card(path) is None


def test_a_card_that_tells_no_checksum_is_nobodys(tmp_path):
    save_weights(tmp_path / "w.th", network(7).state_dict(), {})
    (tmp_path / "w.th.json").write_text("{}")
    with pytest.warns(UserWarning, match="another file"):
        assert read_card(tmp_path / "w.th") is None


@pytest.mark.parametrize("text", [b'{"number": ', b"", b"[1, 2]", b"3", b"\xff\xfe"])
def test_a_damaged_card_is_named(tmp_path, text):
    save_weights(tmp_path / "w.th", network(7).state_dict(), {})
    (tmp_path / "w.th.json").write_bytes(text)
    with pytest.raises(UserError, match=r"w\.th\.json is damaged: it is no JSON object; restore it, or delete it"):
        read_card(tmp_path / "w.th")


def test_a_card_whose_weights_are_gone_names_them(tmp_path):
    save_weights(tmp_path / "w.th", network(7).state_dict(), {})
    (tmp_path / "w.th").unlink()
    with pytest.raises(UserError, match=r"cannot read .*w\.th: No such file"):
        read_card(tmp_path / "w.th")


def test_sparse_tensors_are_refused_in_one_line(tmp_path):
    model = models.build("resnet8", 10)
    sparse = {name: t.to_sparse() if t.dim() == 4 else t for name, t in model.state_dict().items()}
    torch.save(sparse, tmp_path / "sparse.pth")
    with pytest.raises(UserError, match="holds sparse tensors"):
        load_weights(model, tmp_path / "sparse.pth")


@pytest.fixture
def trunk_file(tmp_path):
    torch.manual_seed(1)
    network = torchvision.models.resnet18(num_classes=7)
    state = {name: t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "resnet18-f37072fd.pth")  # torchvision's file is that old
    return tmp_path / "resnet18-f37072fd.pth", network


def test_a_trunk_is_taken_from_torchvisions_file_and_what_follows_stays(trunk_file):
    path, theirs = trunk_file
    model = models.build("resnet18_fc3", 3)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    load_trunk(model, path)
    trunk = {name for name in theirs.state_dict() if not name.startswith("fc.")}
    for name, t in model.state_dict().items():
        assert torch.equal(t, theirs.state_dict()[name] if name in trunk else before[name]), name


def test_a_trunk_is_taken_whole_or_not_at_all(trunk_file, tmp_path):
    path, theirs = trunk_file
    model = models.build("resnet18_fc3", 3)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state = theirs.state_dict()
    del state["layer3.0.conv1.weight"]
    torch.save(state, tmp_path / "part.pth")
    torch.save(models.build("mlp_8", 3).state_dict(), tmp_path / "mlp.pth")
    with pytest.raises(UserError, match=r"missing: layer3\.0\.conv1\.weight"):
        load_trunk(model, tmp_path / "part.pth")
    with pytest.raises(UserError, match="has nothing for resnet18_fc3: it is mlp_8 with 3 classes"):
        load_trunk(model, tmp_path / "mlp.pth")
    torch.save({"x": torch.ones(1)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="has nothing for resnet18_fc3; name torchvision's file"):
        load_trunk(model, tmp_path / "x.pth")
    with torch.device("meta"):
        deeper = models.build("resnet50_fc3", 3)
    with pytest.raises(UserError, match="does not fit resnet50_fc3"):
        load_trunk(deeper, path)
    with pytest.raises(UserError, match="mlp_8 has no trunk of torchvision"):
        load_trunk(models.build("mlp_8", 3), path)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
