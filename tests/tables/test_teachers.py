import dataclasses

import pytest
import torch

from ignite_kd import models, tables
from ignite_kd.errors import UserError
from ignite_kd.tables import teachers
from ignite_kd.tables.plans import is_of_table
from ignite_kd.weights import save_weights

TABLE = tables.get("shapes")
RESULTS = {"test": {"last": {"accuracy": 0.5}, "best": {"accuracy": 0.75}}, "validation": {"last": 0.25, "best": 0.3}}


def file(path, name="mlp_8", **card):
    torch.manual_seed(0)
    network = models.build(name, num_classes=10)
    save_weights(path, network.state_dict(), {"model": name, "num_classes": 10, "dataset": "shapes"} | card)
    return str(path)


def test_files_are_known_by_the_network_in_them(tmp_path):
    one, other = file(tmp_path / "one.th"), file(tmp_path / "other.th", "mlp_9")
    assert {name: str(path) for name, path in teachers.given([one, other], ["mlp_9", "mlp_8"], TABLE).items()} == {
        "mlp_8": one,
        "mlp_9": other,
    }


@pytest.mark.parametrize(
    ("more", "wanted", "told"),
    [
        ({}, ["mlp_9"], "is a mlp_8, but the cells need mlp_9"),
        ({"dataset": "cifar10"}, ["mlp_8"], "learned cifar10, but shapes is of shapes"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path, more, wanted, told):
    with pytest.raises(UserError, match=told):
        teachers.given([file(tmp_path / "one.th", **more)], wanted, TABLE)


def test_the_shipped_one_is_that_of_the_tables_data(tmp_path):
    def found(**change):
        usual = {"samples_per_class": None, "validation": 500, "seed": 0, "stratified": True}
        split = usual | change.pop("split", {})
        file(tmp_path / "t.th", **({"data": {"split": split}} | change))
        return teachers.shipped("mlp_8", TABLE, tmp_path)

    assert found() == tmp_path / "t.th"
    assert found(split={"samples_per_class": 5}) is None and found(split={"validation": 100}) is None
    assert found(split={"seed": 1}) is None and found(split={"stratified": False}) is None
    assert found(dataset="cifar10") is None and found(teacher="mlp_9") is None
    assert found(quirks={"normalisation": "zoo"}) is None
    seen = {"data": {"split": {"samples_per_class": None, "validation": 500, "seed": 0, "stratified": True}}}
    assert found(started_from={"card": seen}) == tmp_path / "t.th"
    for other in (None, seen | {"teacher": "mlp_9"}, {"data": {"split": {"validation": 0}}}):
        assert found(started_from={"card": other}) is None
    assert teachers.shipped("mlp_9", TABLE, tmp_path) is None


def test_a_damaged_card_of_another_file_keeps_nobody_from_the_shipped_one(tmp_path):
    split = {"samples_per_class": None, "validation": 500, "seed": 0, "stratified": True}
    file(tmp_path / "t.th", data={"split": split})
    file(tmp_path / "a.th")
    (tmp_path / "a.th.json").write_text("{")
    assert teachers.shipped("mlp_8", TABLE, tmp_path) == tmp_path / "t.th"
    with pytest.raises(UserError, match=r"a\.th\.json is damaged"):  # it may be the one that is looked for
        teachers.shipped("mlp_9", TABLE, tmp_path)


def test_its_result_is_its_cards(tmp_path):
    path = tmp_path / "t.th"
    file(path, results=RESULTS, epochs=7, minutes=2, seed=3, recipe="vid")
    trial = teachers.trial_of_file(path, "wrn_40_2", TABLE, "nowhere", "cpu")
    assert (trial.accuracy, trial.best_accuracy, trial.validation_accuracy) == (50.0, 75.0, 25.0)
    assert (trial.epochs, trial.minutes, trial.record["seed"], trial.record["recipe"]) == (7, 2.0, 3, "vid")


@pytest.mark.parametrize(
    ("card", "epochs", "scale"),
    [
        ({"epochs": 4}, 4, 1.0),
        ({"epochs": 1}, 1, 0.25),
        ({"epochs": 4, "which": "best", "epoch": 3}, 3, 0.75),
        ({"epochs": 1, "started_from": {"card": {"epochs": 2, "started_from": None}}}, 3, 0.75),
        ({"epochs": 1, "started_from": {"card": None}}, 1, 0.25),
        ({"epochs": 4, "epoch": 0, "status": "stopped"}, 0, 0.0),
        ({"epochs": 4, "status": "stopped"}, 0, 0.0),
        ({}, 0, 1.0),
    ],
)
def test_one_of_fewer_epochs_than_the_tables_is_not_taken_for_the_published_one(tmp_path, card, epochs, scale):
    file(tmp_path / "t.th", results=RESULTS, **card)
    trial = teachers.trial_of_file(tmp_path / "t.th", "wrn_40_2", TABLE, "nowhere", "cpu")
    assert (trial.epochs, trial.epochs_scale) == (epochs, scale)  # the table's have 4


def test_where_a_folder_of_images_has_no_test_set_it_has_no_result(tmp_path):
    file(tmp_path / "t.th", dataset="folder", results={"validation": {"last": 0.25}})
    table = dataclasses.replace(TABLE, dataset="folder")
    trial = teachers.trial_of_file(tmp_path / "t.th", "wrn_40_2", table, str(tmp_path), "cpu")
    assert (trial.accuracy, trial.validation_accuracy) == (None, 25.0)


@pytest.mark.parametrize(
    ("card", "otherwise"),
    [
        ({"recipe": "vid", "recipe_changes": {"milestones": [3], "batch_size": 50, "nesterov": True, "epochs": 9,
                                              "validation_images": 500, "validate_every": 2}}, False),
        ({"recipe": "vid", "recipe_changes": {}}, True),
        ({"recipe": "crd"}, True),
        ({"started_from": {"card": None}}, True),
        ({}, False),
    ],
)  # fmt: skip
def test_one_of_another_recipe_or_of_trained_weights_was_trained_otherwise(tmp_path, card, otherwise):
    file(tmp_path / "t.th", results=RESULTS, **card)
    trial = teachers.trial_of_file(tmp_path / "t.th", "wrn_40_2", TABLE, "nowhere", "cpu")
    assert teachers.trained_otherwise(trial, TABLE) is otherwise


def test_the_result_of_a_network_that_teaches_no_more_is_not_the_columns(tmp_path):
    file(tmp_path / "t.th", results=RESULTS, epochs=4)
    name, column = next((about.teacher, name) for name, about in TABLE.columns.items())
    trial = dataclasses.replace(teachers.trial_of_file(tmp_path / "t.th", name, TABLE, "", "cpu"), column=column)
    assert is_of_table(trial, TABLE, 1.0)
    other = {column: dataclasses.replace(TABLE.columns[column], teacher="wrn_16_1")}
    assert not is_of_table(trial, dataclasses.replace(TABLE, columns=other), 1.0)
