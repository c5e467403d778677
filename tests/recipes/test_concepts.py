"""Against the flags of the released scripts and the list of checkpoints (concepts.md, 2.4, 3.3 and 3.4)."""

import dataclasses

import pytest

from ignite_kd.recipes import concepts, get


def test_it_is_the_training_of_the_released_scripts():
    recipe = get("concepts")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.decades) == (150, 64, 1e-3, 1)
    assert (recipe.momentum, recipe.weight_decay, recipe.schedule, recipe.nesterov) == (0.9, 1e-4, "log-space", False)
    assert recipe.quirks() == {}


@pytest.mark.parametrize(("model", "rate"), [("vgg16_fc3", 1e-3), ("alexnet_fc3", 1e-3), ("resnet50_fc3", 1e-2)])
def test_the_second_phase_falls_where_validation_stands_still(model, rate):
    found = concepts.classifier(concepts.imitation(get("concepts"), "fc1"), model)
    assert (found.learning_rate, found.schedule, found.decay, found.patience) == (rate, "plateau", 0.3, 10)
    assert found.epochs == 100 and found.validate_every == 1


def test_accuracy_is_looked_at_only_where_the_classifier_learns():
    recipe = get("concepts")
    assert [concepts.imitation(recipe, layer).validate_every for layer in concepts.LAYERS] == [0, 0, 0, 1]
    quiet = dataclasses.replace(recipe, test_at_end=False)
    assert not concepts.imitation(quiet, "fc3").test_at_end


def test_the_epochs_that_are_kept_are_those_of_the_study():
    assert concepts.epochs_to_keep(150) == (0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 70, 90, 110, 130, 150)
    assert len(concepts.epochs_to_keep(400)) == 22 and concepts.epochs_to_keep(400)[-1] == 400
    assert concepts.epochs_to_keep(12) == (0, 2, 5, 10)


@pytest.mark.parametrize(
    ("model", "what", "expected"),
    [("vgg11_fc3", "fc1", (1e-4, 1)), ("vgg19", "fc3", (1e-3, 1)), ("resnet101", "fc1", (10, 2)),
     ("vgg16", "conv", None), ("alexnet", "fc1", None), ("vgg16", "without_pretrain", (1e-2, 1)),
     ("resnet18", "pretrain", (1e-2, 1))],
)  # fmt: skip
def test_rates_are_suggested_where_the_scripts_do(model, what, expected):
    assert concepts.suggested(model, what) == expected
