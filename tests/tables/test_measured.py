import dataclasses
from pathlib import Path

import pytest

from ignite_kd import run_folder, tables
from ignite_kd.errors import UserError
from ignite_kd.tables import measured
from ignite_kd.tables.plans import student_plan

README = Path(__file__).parents[2] / "README.md"


def test_the_read_me_shows_what_was_measured():
    """Written by `python -m ignite_kd.tables.measured`, between the two marks."""
    shown = README.read_text().split("<!-- measured -->")[1].split("<!-- end of measured -->")[0]
    assert shown.strip() == measured.section()


@pytest.mark.parametrize("name", tables.names())
def test_what_was_measured_is_of_the_tables_own_settings(name):
    table = tables.get(name)
    for trial in measured.trials(table):
        assert trial.table == name and trial.cell in set(table.cells())
        if trial.row != "teacher":
            plan = student_plan(table, trial.cell, trial.trial, "", 1.0)
            assert trial.epochs_scale == 1 and trial.epochs == plan.max_epochs and not trial.strays_from(plan)


@pytest.mark.parametrize("name", tables.names())
def test_what_was_measured_is_taken_over_on_any_machine(name):
    """As `--trials-from ignite_kd/tables/measured/NAME.jsonl` does."""
    table = tables.get(name)
    for trial in measured.trials(table):
        if trial.row != "teacher":
            taught = {"teacher_sha256": trial.record["identity"]["teacher_sha256"]}
            plan = student_plan(table, trial.cell, trial.trial, None, 1.0, compile="on", precision="bf16")
            assert trial.differs_from(run_folder.identity_of(plan) | taught) == []


@pytest.mark.parametrize("name", tables.names())
def test_each_trial_is_there_once_and_a_column_has_one_teacher(name):
    found = measured.trials(tables.get(name))
    numbers, teachers = {}, {}
    for trial in found:
        numbers.setdefault(trial.cell, []).append(trial.trial)
        teacher = trial.record.get("sha256") or trial.record.get("identity", {}).get("teacher_sha256")
        teachers.setdefault(trial.column, set()).update({teacher} - {None})
    assert all(sorted(found) == list(range(len(found))) for found in numbers.values())
    assert all(len(files) <= 1 for files in teachers.values())


def test_files_that_measure_nothing_known_are_not_shipped():
    assert {path.stem for path in measured.FOLDER.glob("*.jsonl")} <= set(tables.names())


def test_a_table_of_ones_own_that_borrows_a_name_does_not_borrow_what_was_measured():
    table = tables.get("vid-small-data")
    assert "| kd |" in measured.show(table, table.choose(columns=["100"]))
    mine = dataclasses.replace(table, losses={**table.losses, "kd": ["kd:9"]})
    told = measured.show(mine, mine.choose(columns=["100"]))
    assert "| kd |" not in told and "| vid |" in told and "| teacher |" in told
    told = measured.show(table, table.choose(cells=["vid:100"]))  # its teacher belongs to it
    assert "| vid |" in told and "| teacher |" in told and "(its teacher: " in told and "| kd |" not in told
    column = dataclasses.replace(table.columns["100"], student="wrn_16_2")
    other = dataclasses.replace(table, columns={"100": column})
    with pytest.raises(UserError, match="nothing was measured yet"):
        measured.show(other, other.choose())


def test_nothing_measured_is_one_line():
    table = tables.get("shapes")
    if not measured.trials(table):
        with pytest.raises(UserError, match="nothing was measured yet"):
            measured.show(table, table.choose())
