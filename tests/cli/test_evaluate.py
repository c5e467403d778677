import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import call
from PIL import Image
from torch import nn

from ignite_kd import data, models
from ignite_kd.data.split import SplitSpec, split
from ignite_kd.weights import save_weights


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def shapes():
    return data.load("shapes")


def network(name="mlp_8", classes=10, **options):
    torch.manual_seed(3)
    return models.build(name, classes, **options).eval()


def measured(model, dataset, images):
    """Top-1, top-5 and loss, written out."""
    x = images.images.double() / 255
    x = (x - torch.tensor(dataset.mean).view(3, 1, 1)) / torch.tensor(dataset.std).view(3, 1, 1)
    with torch.no_grad():
        logits = torch.cat([model(part) for part in x.float().split(500)])
    order = logits.argsort(1, descending=True)
    right = order == images.labels[:, None]
    loss = nn.functional.cross_entropy(logits, images.labels)
    return right[:, 0].float().mean().item(), right[:, :5].any(1).float().mean().item(), loss.item()


def told(words, status=0):
    done = call(f"evaluate {words} --device cpu --json")
    assert done.status == status, done.err
    return json.loads(done.out)


def checked(words, status):
    """Exit status and last line of an evaluation that comes to its end without a warning."""
    done = call(f"evaluate {words} --device cpu")
    assert (done.status, done.err) == (status, "")
    assert [line.split()[0] for line in done.out.splitlines()].count("check") == 1
    return done.out.splitlines()[-1].removeprefix("check    ")


def refused(words, *expected):
    done = call(f"evaluate {words} --device cpu")
    assert (done.status, done.err.count("\n")) == (2, 1), done.err
    assert done.err.startswith("error: ")
    for word in expected:
        assert word in done.err


def test_a_file_of_another_code_is_named_and_measured(shapes):
    model = network("resnet8")
    torch.save({"model": model.state_dict(), "epoch": 240, "best_acc": 12.5}, "ckpt.pth")
    found = told("ckpt.pth --dataset shapes")
    assert list(found["results"].values()) == pytest.approx(measured(model, shapes, shapes.test), abs=1e-4)
    assert (found["model"], found["named_by"], found["classes"]) == ("resnet8", "its names and shapes", 10)
    assert (found["layout"], found["file_says"]) == ("state dict under 'model'", {"epoch": 240, "best_acc": 12.5})
    assert (found["macs"], found["images"]) == (12_507_392 - 90 * 64, 2000)  # methods.md 6.2, for 100 classes


def test_people_read_a_few_lines():
    torch.save({"model": network().state_dict(), "epoch": 240, "accuracy": torch.tensor(75.61)}, "ckpt.pth")
    done = call("evaluate ckpt.pth --dataset shapes --device cpu")
    assert done.status == 0
    first, *others = done.out.splitlines()
    assert first == "file     ckpt.pth: state dict under 'model', epoch 240, accuracy 75.61"
    assert [line.split()[0] for line in others] == ["model", "data", "result", "note", "check"]
    assert "24,842 parameters" in others[0]
    assert "top-1" in others[2] and "top-5" in others[2] and "loss" in others[2]
    assert "the file says accuracy 75.61, but" in others[3]
    assert others[4] == "check    has no card"


def card_of(shapes, spec, accuracy):
    parts = split(shapes.train.labels, spec)
    last = {"accuracy": accuracy, "top5": 0.5, "loss": 2.0}
    return parts, {
        "model": "mlp_8", "num_classes": 10, "dataset": "shapes", "recipe": "vid", "epochs": 3, "seed": 0,
        "data": {"digest": shapes.digest(), "classes": 10, "split": parts.to_json()},
        "results": {"test": {"last": last}},
    }  # fmt: skip


def test_the_card_says_data_set_and_which_images_were_kept_apart_and_is_compared(shapes):
    model = network()
    accuracy = measured(model, shapes, shapes.test)[0]
    parts, card = card_of(shapes, SplitSpec(300, samples_per_class=20, seed=5), accuracy)
    save_weights("net.th", model.state_dict(), card)
    found = told("net.th")
    assert (found["dataset"], found["named_by"], found["notes"]) == ("shapes", "its card", [])
    for part, indices in (("validation", parts.validation), ("train", parts.train)):
        found = told(f"net.th --split {part}")
        expected = measured(model, shapes, shapes.train.subset(indices))
        assert found["images"] == len(indices)
        assert list(found["results"].values()) == pytest.approx(expected, abs=1e-4)
    assert "its checksum is right" in call("evaluate net.th --device cpu").out


ALL = "sha256, model, classes, data, split"


def rewritten(path, change):
    """The card beside `path` after `change` was made to it; its checksum is of the weights still."""
    beside = Path(f"{path}.json")
    card = json.loads(beside.read_text())
    change(card)
    beside.write_text(json.dumps(card))


def test_a_card_that_is_true_is_confirmed(shapes):
    model = network()
    accuracy = measured(model, shapes, shapes.test)[0]
    save_weights("net.th", model.state_dict(), card_of(shapes, SplitSpec(300), accuracy)[1])
    assert checked("net.th", 0) == f"matches its card ({ALL}, test accuracy)"
    assert checked("net.th --split train", 0) == f"matches its card ({ALL}; it does not tell train accuracy)"
    found = told("net.th")["check"]
    assert (found["has_card"], found["differences"], found["untold"]) == (True, [], [])


LIES = {
    "test accuracy is 99.00% there, {accuracy} here": lambda card: card["results"]["test"]["last"].update(
        accuracy=0.99
    ),
    "model is mlp_9 there, mlp_8 here": lambda card: card.update(model="mlp_9"),
    "classes is 100 there, 10 here": lambda card: card.update(num_classes=100),
    "data is 00ff there, {data} here": lambda card: card["data"].update(digest="00ff"),
    "split is 00ff there, {split} here": lambda card: card["data"]["split"].update(digest="00ff"),
    "sha256 is 00ff there, {sha256} here": lambda card: card.update(sha256="00ff"),
    "sha256 is missing there, {sha256} here": lambda card: card.pop("sha256"),
}


@pytest.mark.parametrize("lie", LIES)
def test_the_field_that_is_not_true_is_named(shapes, lie):
    model = network()
    accuracy = measured(model, shapes, shapes.test)[0]
    parts, card = card_of(shapes, SplitSpec(300), accuracy)
    save_weights("net.th", model.state_dict(), card)
    rewritten("net.th", LIES[lie])
    found = {"accuracy": f"{accuracy:.2%}", "data": shapes.digest(), "split": parts.digest}
    found["sha256"] = hashlib.sha256(Path("net.th").read_bytes()).hexdigest()
    assert checked("net.th --dataset shapes", 1) == f"differs from its card: {lie.format(**found)}"


def test_accuracies_are_compared_to_the_printed_digits_unless_the_arithmetic_is_another(shapes):
    model = network()
    accuracy = measured(model, shapes, shapes.test)[0]
    save_weights("net.th", model.state_dict(), card_of(shapes, SplitSpec(300), accuracy + 0.001)[1])
    assert checked("net.th", 1).endswith(f"test accuracy is {accuracy + 0.001:.2%} there, {accuracy:.2%} here")
    rewritten("net.th", lambda card: card.update(device="another machine"))
    assert checked("net.th", 0).startswith("matches its card")
    rewritten("net.th", lambda card: card["results"]["test"]["last"].update(accuracy=accuracy + 0.003))
    assert checked("net.th", 1).startswith("differs from its card: test accuracy")


@pytest.mark.parametrize(
    ("gone", "untold"),
    [
        (("model", "num_classes", "data"), "model, classes, data"),
        (("results",), "test accuracy"),
        (("num_classes", "quirks", "recipe"), "classes"),
    ],
)
def test_what_a_card_does_not_tell_is_said(shapes, gone, untold):
    model = network()
    _, card = card_of(shapes, SplitSpec(300), measured(model, shapes, shapes.test)[0])
    save_weights("net.th", model.state_dict(), {name: value for name, value in card.items() if name not in gone})
    line = checked("net.th", 0)
    assert line.startswith("matches its card (sha256") and line.endswith(f"; it does not tell {untold})")


def test_a_card_of_one_data_set_says_nothing_of_another(shapes):
    _, card = card_of(shapes, SplitSpec(300), 0.99)
    save_weights("net.th", network().state_dict(), card | {"dataset": "cifar10"})
    line = checked("net.th --dataset shapes", 0)
    assert line == "matches its card (sha256, model, classes; it does not tell how good it is on shapes)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is no JSON object"),
        ("[" * 100_000, "it is no JSON object"),
        ('{"results": 5}', "its results should be an object, not '5'"),
        ('{"results": {"test": "good"}}', "its results.test should be an object, not 'good'"),
        ('{"data": {"split": []}}', "its data.split should be an object, not '[]'"),
        ('{"model": 3}', "its model should be a text, not '3'"),
    ],
)
def test_a_damaged_card_is_one_line(text, words):
    torch.save(network().state_dict(), "net.th")
    Path("net.th.json").write_text(text)
    refused("net.th --dataset shapes", "net.th.json is damaged", words, "restore it, or delete it")


def test_a_split_without_its_numbers_is_one_line(shapes):
    save_weights("net.th", network().state_dict(), card_of(shapes, SplitSpec(300), 0.5)[1])
    rewritten("net.th", lambda card: card["data"]["split"].pop("seed"))
    refused("net.th", "the card's split has no 'seed'")


def test_the_number_format_is_the_cards_where_the_device_has_it(shapes, monkeypatch):
    save_weights("net.th", network().state_dict(), card_of(shapes, SplitSpec(300), 0.5)[1] | {"precision": "bf16"})
    for native, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("ignite_kd.evaluate.native_bf16", lambda device, native=native: native)
        report = call("evaluate net.th --device cpu --json")
        assert json.loads(report.out)["precision"] == expected


def test_without_a_card_the_usual_validation_part_may_flatter():
    torch.save(network().state_dict(), "net.th")
    found = told("net.th --dataset shapes --split validation")
    assert found["images"] == 2000
    assert "flatter" in found["notes"][0]
    assert told("net.th --dataset shapes --split train")["images"] == 10_000


def test_a_network_that_kept_no_images_apart_has_none_to_validate_on(shapes):
    save_weights("net.th", network().state_dict(), card_of(shapes, SplitSpec(0), 0.1)[1])
    refused("net.th --split validation", "none validates", "--split test")


def test_the_zoos_recipe_normalises_otherwise_and_so_does_its_evaluation(shapes):
    model = network()
    save_weights(
        "net.th", model.state_dict(), card_of(shapes, SplitSpec(0), 0.1)[1] | {"quirks": {"normalisation": "zoo"}}
    )
    shifted = data.Dataset(
        "shapes", shapes.train, shapes.test, shapes.classes, (0.4814, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)
    )
    assert told("net.th", status=1)["results"]["loss"] == pytest.approx(
        measured(model, shifted, shapes.test)[2], abs=1e-4
    )


def test_a_folder_is_evaluated_tree_by_tree(tmp_path):
    for tree, images in (("train", 3), ("val", 2), ("test", 1)):
        for number, name in enumerate(("cat", "dog")):
            (tmp_path / "mine" / tree / name).mkdir(parents=True)
            for i in range(images):
                Image.new("RGB", (20, 20), (100 * number, 50 * i, 7)).save(tmp_path / "mine" / tree / name / f"{i}.png")
    torch.save(network("mlp_8", 2, image_size=16).state_dict(), "net.th")
    torch.save(network("mlp_8", 1, image_size=16).state_dict(), "one.th")
    words = "net.th --dataset folder --data-dir mine --num-workers 0"
    for part, images in (("train", 6), ("validation", 4), ("test", 2)):
        found = told(f"{words} --split {part}")
        assert (found["images"], found["image_size"]) == (images, 16)
        assert found["results"]["top5"] == 1.0
    for file in (tmp_path / "mine" / "test").rglob("*.png"):
        file.unlink()
    for folder in ("cat", "dog", ""):
        (tmp_path / "mine" / "test" / folder).rmdir()
    refused(words, "there is no folder mine/test", "ask for other images")
    for tree in ("train", "val"):
        shutil.rmtree(tmp_path / "mine" / tree / "dog")
    refused(words.replace("net.th", "one.th") + " --split validation", "mine/train has but one class, cat")


def test_every_mistake_is_one_line(tmp_path):
    torch.save(network().state_dict(), "net.th")
    torch.save(network("mlp_9", 100).state_dict(), "hundred.th")
    torch.save({"strange": torch.ones(2, 2)}, "strange.th")
    (tmp_path / "torn.th").write_bytes((tmp_path / "net.th").read_bytes()[:1000])
    refused("nowhere.th --dataset shapes", "cannot read nowhere.th")
    refused("torn.th --dataset shapes", "torn.th is torn")
    refused("net.th --dataset cifar11", "unknown data set 'cifar11'", "did you mean 'cifar10'")
    refused("net.th --dataset shapes --model resnet14", "looks like mlp_8 with 10 classes, not like resnet14")
    refused("net.th --dataset shapes --model resmet8", "unknown model 'resmet8'", "'resnet8'")
    refused("hundred.th --dataset shapes", "is mlp_9 with 100 classes, but shapes has 10 classes")
    refused("strange.th --dataset shapes", "say --model NAME")
    refused(
        "strange.th --dataset shapes --model resnet8", "does not fit resnet8 with 10 classes", "unexpected: strange"
    )
    refused("net.th --dataset shapes --precision tf32", "tf32", "fp32")
    torch.save(models.build("torchvision:alexnet", 10).state_dict(), "alexnet.pth")
    refused("alexnet.pth --dataset shapes", "torchvision:alexnet does not take images of 32×32")


def test_json_is_strict_whatever_the_file_says():
    torch.save({"model": network().state_dict(), "best_value": float("-inf")}, "net.th")
    done = call("evaluate net.th --dataset shapes --device cpu --json")
    assert done.status == 0, done.err

    def none(word):
        raise AssertionError(word)

    assert json.loads(done.out, parse_constant=none)["file_says"] == {"best_value": None}


def test_logits_that_are_no_numbers_are_told_of():
    model = network()
    torch.save(model.state_dict(), "net.th")
    assert not any("no numbers" in note for note in told("net.th --dataset shapes")["notes"])
    with torch.no_grad():
        for parameter in list(model.parameters())[-2:]:
            parameter[3] = 3e38  # finite; what comes of it is not, for one class of ten
    torch.save(model.state_dict(), "net.th")
    assert "its logits are no numbers for some images" in told("net.th --dataset shapes")["notes"]


def test_help_does_not_import_torch():
    code = "import sys; sys.argv = ['x', 'evaluate', '--help']; from ignite_kd.cli import commands\n"
    code += "try: commands()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
