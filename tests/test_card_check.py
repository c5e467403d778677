import pytest

from ignite_kd.card_check import Check, allowed


def test_a_file_without_a_card_has_none():
    assert Check(False).line() == "has no card"


def test_all_that_differs_stands_in_one_line():
    check = Check(True)
    check.field("model", "a", "b")
    check.field("classes", 10, 10)
    check.field("data", None, "x")
    check.field("split", "1", "2")
    assert check.line() == "differs from its card: model is a there, b here; split is 1 there, 2 here"
    assert (check.compared, check.untold) == (["model", "classes", "split"], ["data"])


@pytest.mark.parametrize(
    ("told", "found", "card", "alike"),
    [
        (0.93714, 0.93706, {}, True),  # both are printed as 93.71%
        (0.9371, 0.9372, {}, False),
        (0.9371, 0.9372, {"precision": "fp32", "device": "here"}, False),
        (0.9371, 0.9372, {"device": "here, 3 threads"}, False),
        (0.9371, 0.9372, {"precision": "bf16"}, True),
        (0.9371, 0.9372, {"device": "there"}, True),
        (0.9371, 0.9392, {"device": "there"}, False),
    ],
)
def test_accuracies_are_alike_in_their_printed_digits_or_nearly_with_other_arithmetic(told, found, card, alike):
    check = Check(True)
    check.accuracy(card | {"results": {"test": {"last": told}}}, "test", found, 10_000, "fp32", "here, 2 threads")
    assert check.compared == ["test accuracy"]
    assert (check.differences == []) is alike


def test_an_image_more_or_less_is_no_difference_on_another_device():
    for images, alike in ((200, True), (2000, False)):
        check = Check(True)
        card = {"device": "there", "results": {"test": {"last": 0.90}}}
        check.accuracy(card, "test", 0.905, images, "fp32", "here")
        assert (check.differences == []) is alike
    assert allowed(10_000, alike=True) < allowed(10_000, alike=False) == 2e-3


def test_the_accuracy_is_that_of_the_epoch_whose_weights_they_are():
    results = {"test": {"last": {"accuracy": 0.5}, "best": {"accuracy": 0.6}}}
    for which, found in (("last", 0.5), ("best", 0.6)):
        check = Check(True)
        check.accuracy({"which": which, "results": results}, "test", found, 10_000, "fp32", "here")
        assert (check.compared, check.differences) == (["test accuracy"], [])
