import functools
import re
import time

import pytest
from commands import call

from ignite_kd import data, heads, models, recipes

NAMES = {"methods": heads.names(), "models": models.names(), "datasets": data.names(), "recipes": recipes.names()}


@functools.cache
def rows(kind):
    """What follows the head, up to the note: the lines of each name, joined."""
    done = call(f"list {kind}")
    assert done.status == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 120
    head, *lines = done.out.partition("\n\n")[0].splitlines()
    found = []
    for line in lines:
        if line.startswith(" "):
            found[-1] += " " + line.strip()
        else:
            found.append(line)
    return head.split(), {line.split()[0]: " ".join(line.split()) for line in found}


@pytest.mark.parametrize("kind", NAMES)
def test_everything_that_is_there_is_named_within_120_columns(kind):
    _, found = rows(kind)
    assert list(found) == list(NAMES[kind])


def test_a_method_has_its_other_names_published_factor_paper_and_options():
    _, found = rows("methods")
    assert re.fullmatch(r"kd 0.9 \d+% Hinton et al., 2015, arXiv:1503.02531; temperature=4.0", found["kd"])
    assert re.match(
        r"fitnet hint, fn 100 \d+% batch Romero et al., 2015, arXiv:1412.6550; stages=auto", found["fitnet"]
    )
    assert found["ce"] == "ce"


# methods.md, 6.2
COSTS = {
    "resnet8": ("83,892", "12,507,392"),
    "resnet110": ("1,736,564", "253,155,584"),
    "resnet32x4": ("7,433,860", "1,083,040,768"),
    "ResNet50": ("23,705,252", "1,298,014,208"),
    "wrn_40_2": ("2,255,156", "327,610,880"),
    "vgg13": ("9,462,180", "284,936,192"),
    "MobileNetV2": ("812,836", "6,523,648"),
    "ShuffleV1": ("949,258", "38,691,456"),
    "ShuffleV2": ("1,355,528", "44,504,448"),
}


def test_a_model_has_its_parameters_and_macs_and_its_paper():
    _, found = rows("models")
    for name, (parameters, macs) in COSTS.items():
        assert found[name].split()[1:3] == [parameters, macs]
    assert found["wrn_16_1"].endswith("Zagoruyko, Komodakis, 2016, arXiv:1605.07146")
    assert found["vgg8"].endswith("Simonyan, Zisserman, 2014, arXiv:1409.1556")
    assert found["ShuffleV2"].endswith("Ma et al., 2018, arXiv:1807.11164")


def test_models_are_listed_in_seconds():
    started = time.process_time()
    rows.__wrapped__("models")
    assert time.process_time() - started < 30  # 5 s; other work on the machine doubles it


@pytest.mark.parametrize("name", ["mlp_1024", "resnet20_1w1a", "wideresnet16_4", "ResNet18"])
def test_what_is_listed_is_what_macs_counts(name):
    assert rows("models")[1][name].split()[2] == f"{models.macs(models.build(name, 100)):,}"


def test_a_data_set_has_its_sizes_and_classes():
    _, found = rows("datasets")
    assert found["cifar100"].startswith("cifar100 50,000 10,000 100 32×32")
    shapes = data.load("shapes")
    assert found["shapes"].startswith(f"shapes {len(shapes.train):,} {len(shapes.test):,} {shapes.num_classes} 32×32")


def test_a_recipe_has_what_is_asked_of_it_most():
    _, found = rows("recipes")
    assert found["vid"].startswith("vid 128 0.1 200 × 0.2 after 60, 120, 160 Ahn et al., CVPR 2019, arXiv:1904.05835")
    assert found["concepts"].startswith("concepts 64 0.001 150 down 1 powers of 10 Cheng et al., CVPR 2020")
    assert found["crd"].startswith("crd 64 0.05 (0.01) 240 × 0.1 after 150, 180, 210 Tian")
