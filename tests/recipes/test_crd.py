"""Against the table of `methods.md` (2, 3.17, 3.20, 4.1) and the commands of RepDistiller's script."""

import pytest

from ignite_kd.errors import UserError
from ignite_kd.recipes import crd, get
from ignite_kd.terms import Term

# --distill word, -r, -b: run_cifar_distill.sh
SCRIPT = {
    "hint": ("fitnet", 1, 100),
    "attention": ("at", 1, 1000),
    "similarity": ("sp", 1, 3000),
    "correlation": ("cc", 1, 0.02),
    "vid": ("vid", 1, 1),
    "rkd": ("rkd", 1, 1),
    "pkt": ("pkt", 1, 30000),
    "abound": ("ab", 1, 1),
    "factor": ("ft", 1, 200),
    "fsp": ("fsp", 1, 50),
    "nst": ("nst", 1, 50),
    "crd": ("crd", 1, 0.8),
    "kd": ("kd", 0.1, 0.9),
}
SAME = ("resnet32x4", "resnet8x4")


def test_it_is_the_schedule_of_the_benchmark():
    recipe = get("crd")
    assert (recipe.epochs, recipe.batch_size, recipe.evaluation_batch_size) == (240, 64, 32)
    assert (recipe.momentum, recipe.nesterov, recipe.weight_decay) == (0.9, False, 5e-4)
    assert (recipe.milestones, recipe.decay, recipe.first_stage_epochs) == ((150, 180, 210), 0.1, 30)
    assert (recipe.padding, recipe.validation_images) == ("zeros", 0)


@pytest.mark.parametrize(
    ("student", "rate"),
    [("resnet8x4", 0.05), ("wrn_16_2", 0.05), ("vgg8", 0.05), ("ShuffleV1", 0.01), ("ShuffleV2", 0.01),
     ("MobileNetV2", 0.01)],
)  # fmt: skip
def test_light_networks_learn_at_a_fifth_of_the_rate(student, rate):
    assert get("crd").rate_of(student) == rate
    assert get("vid").rate_of(student) == 0.1


@pytest.mark.parametrize("word", SCRIPT)
def test_the_factors_are_those_of_the_script(word):
    method, gamma, beta = SCRIPT[word]
    ce, term = crd.terms(word, *SAME)
    assert (ce, term.method, term.factor) == (Term("ce", gamma), method, beta)
    assert crd.factor_of(method) == beta


@pytest.mark.parametrize(
    ("teacher", "student", "factor"),
    [("wrn_40_2", "wrn_16_2", 5), ("wrn_40_2", "ShuffleV1", 5), ("resnet32x4", "ShuffleV2", 8),
     ("resnet56", "resnet20", 0.6), ("resnet110", "resnet32", 1.0)],
)  # fmt: skip
def test_reviewkd_has_a_factor_for_each_pair_and_warms_up_over_twenty_epochs(teacher, student, factor):
    _, term = crd.terms("reviewkd", teacher, student)
    assert (term.factor, term.warm_up) == (factor, 20)


@pytest.mark.parametrize(
    ("teacher", "student", "beta"),
    [("resnet56", "resnet20", 2), ("resnet110", "resnet32", 2), ("resnet32x4", "resnet8x4", 8),
     ("wrn_40_2", "wrn_40_1", 6), ("vgg13", "MobileNetV2", 6), ("ResNet50", "MobileNetV2", 8),
     ("wrn_40_2", "ShuffleV1", 8)],
)  # fmt: skip
def test_dkd_has_a_beta_for_each_pair(teacher, student, beta):
    _, term = crd.terms("dkd", teacher, student)
    assert (term.factor, ({"beta": 8.0} | term.options)["beta"], term.warm_up) == (1, beta, 20)  # 8: the head's default


def test_itrd_has_the_settings_of_its_read_me_where_the_read_me_has_them():
    _, shown = crd.terms("itrd", "wrn_40_2", "wrn_16_2")
    assert shown.options == {"lambda_mutual": 1.0, "alpha_it": 1.01}
    _, other = crd.terms("itrd", *SAME)
    assert other.options == {}  # the script's defaults are the head's


def test_the_tables_have_seven_and_six_pairs():
    assert len(crd.PAIRS) == len(set(crd.PAIRS)) == 13


def test_an_unknown_method_gets_the_nearest_one():
    with pytest.raises(UserError, match="did you mean 'similarity'"):
        crd.method_of("similarty")
