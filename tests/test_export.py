import copy
import hashlib
from pathlib import Path

import pytest
import torch
from oracles import fill, h
from torchvision.transforms import v2

from ignite_kd import data, load_weights, models
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.export import export
from ignite_kd.formats import FORMATS
from ignite_kd.weights import read_card, save_weights

ODD = ["resnet8x4", "MobileNetV2", "ShuffleV2", "vgg8", "mlp_8", "resnet8_1w1a", "torchvision:squeezenet1_1"]
CARD = {"model": "resnet8", "num_classes": 10, "dataset": "shapes", "seed": 7, "results": {"test": {"last": 0.5}}}


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def network(name="resnet8", base=7):
    return fill(models.build(name, 10), base).float().eval()


def saved(name="resnet8", card=None):
    model = network(name)
    if card is None:
        torch.save(model.state_dict(), "net.pth")
    else:
        save_weights("net.pth", model.state_dict(), card)
    return model


def program(path="net.pt2"):
    return torch.export.load(path).module()


@torch.no_grad()
def logits(model, images):
    return model(images)


@pytest.mark.parametrize("name", ODD)
def test_every_kind_of_network_comes_out_bit_equal(name):
    model = saved(name)
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    told = {"model": name, "num_classes": 10}
    export("net.pth", "net.th", **told)
    again = network(name, base=8)
    again.load_state_dict(torch.load("net.th", weights_only=True))
    assert torch.equal(logits(again, images), logits(model, images))
    card = export("net.pth", "net.pt2", **told).card
    for batch in (images, images[:1]):
        assert torch.equal(logits(program(), batch), logits(model, batch))
    assert (card["export"]["check"]["largest_difference"], card["export"]["check"]["allowed"]) == (0, 0)


def test_onnx_computes_the_same():
    runtime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    model = saved()
    check = export("net.pth", "net.onnx").card["export"]["check"]
    session = runtime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    for n in (1, 6):
        images = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(n))
        found = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
        torch.testing.assert_close(found, logits(model, images), rtol=1e-4, atol=1e-5)
    assert check["allowed"] > 0 and check["largest_difference"] <= check["allowed"]


def test_the_normalisation_may_be_part_of_the_program():
    model = saved(card=CARD)
    done = export("net.pth", "net.pt2", with_normalisation=True)
    shapes = data.load("shapes")
    pixels = shapes.test.images[:20]
    unit = v2.ToDtype(torch.float32, scale=True)(pixels)
    expected = logits(model, v2.Normalize(shapes.mean, shapes.std)(unit))
    assert torch.equal(logits(program(), unit), expected)
    told = {"included": True, "mean": [0.5] * 3, "std": [0.277] * 3}
    assert done.card["normalisation"] == told
    assert "3×32×32, pixels from 0 to 1" in done.lines()[2]


def test_a_recipes_own_normalisation_is_the_one_that_is_included():
    model = saved(card=CARD | {"dataset": "cifar10", "quirks": {"normalisation": "zoo"}})
    card = export("net.pth", "net.pt2", with_normalisation=True).card
    mean, std = (0.4814, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)  # methods.md, the zoo
    assert card["normalisation"] == {"included": True, "mean": list(mean), "std": list(std)}
    unit = torch.rand(3, 3, 32, 32)
    assert torch.equal(logits(program(), unit), logits(model, v2.Normalize(mean, std)(unit)))


def test_the_card_keeps_the_facts_and_says_what_the_file_is():
    saved(card=CARD)
    export("net.pth", "out.pt2", command="ignite-kd export net.pth")
    card = read_card("out.pt2")
    assert {name: card[name] for name in CARD} == CARD
    assert card["sha256"] == hashlib.sha256(Path("out.pt2").read_bytes()).hexdigest()
    assert (card["format"], card["input"]) == ("torch-export", {"shape": ["batch", 3, 32, 32], "dtype": "float32"})
    assert card["normalisation"] == {"included": False, "mean": [0.5] * 3, "std": [0.277] * 3}
    made = card["export"]
    assert made["from_sha256"] == hashlib.sha256(Path("net.pth").read_bytes()).hexdigest()
    assert made["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert (made["check"]["random_images"], made["check"]["real_images"]) == (9, 64)
    assert made["command"] == "ignite-kd export net.pth"


def test_a_file_of_another_code_becomes_plain_weights_with_a_card():
    """The released VID code's student holds variances and branches."""
    state = network("wrn_10_1").state_dict()
    variances = {f"variance_param{i}": h((c, 1, 1), i).float() for i, c in enumerate((16, 32, 64), 1)}
    branches = {f"branch{i}.0.weight": h((c, c, 1, 1), 9).float() for i, c in enumerate((16, 32, 64), 1)}
    torch.save(variances | state | branches, "released.th")
    export("released.th", "plain.th")
    found = torch.load("plain.th", weights_only=True)
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)
    card = read_card("plain.th")
    assert (card["model"], card["num_classes"], card["format"]) == ("wrn_10_1", 10, "weights")
    load_weights(models.build("wrn_10_1", 10), "plain.th")


def test_what_cannot_be_used_gets_no_name(monkeypatch, tmp_path):
    saved()

    def broken(path, fresh):
        raise RuntimeError("No such operator\nand more")

    monkeypatch.setitem(FORMATS, "weights", FORMATS["weights"]._replace(load=broken))
    with pytest.raises(RunFailed, match=r"^out\.th was not written: .*\(No such operator\); take another --format\.$"):
        export("net.pth", "out.th")
    assert not (tmp_path / "out.th").exists()


def test_what_is_printed_for_use_builds_the_network():
    torch.save(fill(models.build("mlp_8", 10, image_size=16), 7).float().state_dict(), "net.pth")
    (line,) = [line for line in export("net.pth", "a.th", image_size=16).lines() if line.startswith("use ")]
    assert eval(line.removeprefix("use").strip(), {"load_weights": load_weights, "models": models})


@pytest.mark.parametrize("wrong", [1e-6, float("nan")])
def test_what_gives_other_logits_gets_no_name_and_what_had_it_stays(monkeypatch, tmp_path, wrong):
    saved()
    Path("out.th").write_bytes(b"before")

    form = FORMATS["weights"]

    def spoiled(model, images, name):
        other = copy.deepcopy(model)
        other.fc.bias.data += wrong
        return form.write(other, images, name)

    monkeypatch.setitem(FORMATS, "weights", form._replace(write=spoiled))
    with pytest.raises(RunFailed, match=r"out\.th was not written: as weights, resnet8 gives logits that differ by "):
        export("net.pth", "out.th")
    assert Path("out.th").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.pth", "out.th"]


def test_a_difference_within_the_formats_tolerance_is_told(monkeypatch):
    saved()
    form = FORMATS["weights"]
    again = lambda path, fresh: lambda images: network()(images) * (1 + 1e-6)  # noqa: E731
    monkeypatch.setitem(FORMATS, "weights", form._replace(load=again, tolerance=1e-4))
    done = export("net.pth", "out.th")
    assert 0 < done.card["export"]["check"]["largest_difference"] <= done.card["export"]["check"]["allowed"]
    assert "alike to" in done.lines()[3] and "allowed" in done.lines()[3]


def test_what_cannot_be_is_said_in_one_line():
    saved(card=CARD)
    for words, settings, output in (
        ("a state dict holds no normalisation", {"with_normalisation": True}, "a.th"),
        ("written over what it is made of", {}, "net.pth"),
        ("written over what it is made of", {}, "./net.pth.json"),
        ("--which best chooses among the epochs of a run", {"which": "best"}, "a.th"),
        ("looks like resnet8 with 10 classes, not like resnet14", {"model": "resnet14"}, "a.th"),
        ("unknown data set 'cifar11'", {"dataset": "cifar11"}, "a.pt2"),
        (r"--dataset cifar10 was given, but net\.pth learned shapes", {"dataset": "cifar10"}, "a.th"),
    ):
        with pytest.raises(UserError, match=words):
            export("net.pth", output, **settings)
    torch.save(models.build("torchvision:squeezenet1_0", 10).state_dict(), "strange.th")
    with pytest.raises(UserError, match="say --model NAME"):
        export("strange.th", "a.th")
    with pytest.raises(UserError, match="say --num-classes N"):
        export("strange.th", "a.th", model="torchvision:squeezenet1_0")
    with pytest.raises(UserError, match="name the data set that it learned"):
        export("strange.th", "a.pt2", model="torchvision:squeezenet1_0", num_classes=10, with_normalisation=True)
    export("net.pth", "net.pt2")
    with pytest.raises(UserError, match=r"net\.pt2 is a program of torch\.export, no weights"):
        export("net.pt2", "a.th")


def test_images_of_a_folder_are_compared_too(tmp_path):
    from PIL import Image

    for tree in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            (tmp_path / "mine" / tree / name).mkdir(parents=True)
            Image.effect_noise((40, 40), 50 + number).convert("RGB").save(tmp_path / "mine" / tree / name / "0.png")
    saved(card=CARD | {"dataset": "folder", "image_size": 24})
    card = export("net.pth", "net.pt2", with_normalisation=True, data_dir="mine").card
    assert card["export"]["check"]["real_images"] == 2
    assert card["input"]["shape"] == ["batch", 3, 24, 24]
    assert card["normalisation"]["mean"] == [0.485, 0.456, 0.406]


def test_that_a_run_was_not_finished_is_said():
    saved(card=CARD | {"status": "stopped", "epochs": 200, "epoch": 3})
    assert "note     its run is not finished (stopped; 3 epochs are done)" in export("net.pth", "out.th").lines()
    saved(card=CARD | {"status": "finished"})
    assert not any(line.startswith("note") for line in export("net.pth", "out2.th").lines())
