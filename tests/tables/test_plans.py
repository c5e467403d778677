import dataclasses

import pytest

from ignite_kd import tables
from ignite_kd.plan import Term
from ignite_kd.tables.plans import student_plan, teacher_plan
from ignite_kd.tables.table import Cell


def plan_of(name, word, trial=0, scale=1.0, teacher="t.th"):
    row, _, column = word.partition(":")
    return student_plan(tables.get(name), Cell(row, column), trial, teacher, scale)


def test_a_cell_of_the_benchmark_has_its_published_loss_and_schedule():
    plan = plan_of("itrd-same", "at:resnet32x4:resnet8x4", trial=2)
    assert (plan.teacher, plan.student, plan.dataset) == ("resnet32x4", "resnet8x4", "cifar100")
    assert plan.terms == [Term("ce"), Term("at", 1000)]
    assert (plan.max_epochs, plan.recipe.batch_size, plan.recipe.learning_rate) == (240, 64, 0.05)
    assert plan.recipe.milestones == (150, 180, 210) and plan.recipe.decay == 0.1
    assert (plan.seed, plan.order) == (2, 2)


def test_kd_of_the_benchmark_has_a_tenth_of_the_labels():
    terms = plan_of("itrd-same", "kd:vgg13:vgg8").terms
    assert [(term.method, term.factor) for term in terms] == [("ce", 0.1), ("kd", 0.9)]


def test_a_cell_of_vids_table_learns_from_its_images():
    plan = plan_of("vid-cifar10", "vid:100")
    assert plan.samples_per_class == 100
    assert plan.terms == [Term("ce"), Term("vid", 0.1)]
    assert (plan.max_epochs, plan.recipe.milestones, plan.recipe.decay) == (200, (60, 120, 160), 0.2)
    assert plan_of("vid-cifar10", "vid:5000").recipe.validation_images == 0


def test_a_row_may_change_the_recipe_of_its_column():
    table = tables.get("vid-cifar10")
    table = dataclasses.replace(table, changes={"vid": "learning_rate=0.05,gradient_norm=5"})
    changed, other = (student_plan(table, Cell(row, "100"), 0, "t.th", 1.0) for row in ("vid", "kd"))
    assert (changed.recipe.learning_rate, changed.recipe.gradient_norm) == (0.05, 5)
    assert changed.recipe.validate_every == other.recipe.validate_every == 20  # of the column
    assert (other.recipe.learning_rate, other.recipe.gradient_norm) == (0.1, 0)
    assert changed.shared() == other.shared()  # they can learn together


def test_a_student_alone_needs_no_teacher():
    plan = plan_of("vid-cifar10", "student:100")
    assert plan.teacher is None and plan.teacher_path is None and plan.terms == [Term("ce")]


def test_labels_alone_are_no_teacher():
    table = dataclasses.replace(tables.get("vid-cifar10"), losses={"half": ["ce:0.5"], "kd": ["ce:0.5", "kd:1"]})
    plan = student_plan(table, Cell("half", "100"), 0, "t.th", 1.0)
    assert plan.teacher is None and not table.is_taught(Cell("half", "100"))
    assert student_plan(table, Cell("kd", "100"), 0, "t.th", 1.0).teacher and table.is_taught(Cell("kd", "100"))


def test_methods_of_a_column_and_trial_can_learn_together():
    assert plan_of("vid-cifar10", "kd:100").shared() == plan_of("vid-cifar10", "vid:100").shared()
    assert plan_of("vid-cifar10", "kd:100").shared() != plan_of("vid-cifar10", "kd:100", trial=1).shared()
    one, other = "kd:wrn_40_2:wrn_16_2", "kd:wrn_40_2:wrn_40_1"
    assert plan_of("itrd-same", one).shared() == plan_of("itrd-same", other).shared()


def test_a_shorter_schedule_is_shorter_in_all_that_counts_epochs():
    plan = plan_of("itrd-same", "reviewkd:wrn_40_2:wrn_16_2", scale=0.1)
    assert (plan.max_epochs, plan.recipe.milestones, plan.recipe.first_stage_epochs) == (24, (15, 18, 21), 3)
    assert plan.terms[1].warm_up == 2
    assert plan_of("itrd-same", "reviewkd:wrn_40_2:wrn_16_2", scale=0.001).max_epochs == 1
    shapes = student_plan(tables.get("shapes"), Cell("kd", "30"), 0, "t.th", 0.4)
    assert (shapes.max_epochs, shapes.recipe.validate_every) == (10, 2)
    assert plan.recipe.patience == plan_of("itrd-same", "kd:wrn_40_2:wrn_16_2").recipe.patience / 10


@pytest.mark.parametrize(("name", "epochs"), [("itrd-same", 240), ("vid-cifar10", 200)])
def test_a_teacher_is_trained_alone_on_everything(name, epochs):
    plan = teacher_plan(tables.get(name), "wrn_40_2", 1.0)
    assert (plan.student, plan.terms, plan.max_epochs) == ("wrn_40_2", [Term("ce")], epochs)
    assert plan.teacher is None and plan.samples_per_class is None


@pytest.mark.parametrize("name", tables.names())
def test_each_cell_of_each_table_has_a_training(name):
    table = tables.get(name)
    for cell in table.cells():
        if cell.row != "teacher":
            assert student_plan(table, cell, 0, "t.th", 1.0).terms[0].method == "ce"
