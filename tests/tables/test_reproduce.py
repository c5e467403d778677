import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import call

from ignite_kd import tables
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.files import digest_of
from ignite_kd.handlers import checkpoint
from ignite_kd.tables import reproduce
from ignite_kd.tables.plans import Machine
from ignite_kd.tables.reproduce import Reproduction
from ignite_kd.weights import save_weights

RECIPE = "vid,epochs={},milestones=2,batch_size=20,validation_images=100,validate_every=2"
MINE = {
    "name": "mine",
    "title": "A table for tests",
    "dataset": "shapes",
    "recipe": RECIPE.format(4),
    "teacher_recipe": RECIPE.format(2),
    "teacher_samples_per_class": 20,
    "columns": {
        "5": {"teacher": "mlp_16", "student": "mlp_8", "samples_per_class": 5},
        "10": {"teacher": "mlp_16", "student": "mlp_8", "samples_per_class": 10},
    },
    "losses": {"student": [], "kd": ["kd:1,temperature=4"], "dist": ["dist:1"]},
    "published": {"student": {"5": 20.0}},
}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    return path


@pytest.fixture
def trained(monkeypatch):
    """The groups that are trained, by the folders of their students."""
    groups, launch = [], reproduce.launch

    def watch(plans):
        groups.append([Path(plan.output_dir).name for plan in plans])
        return launch(plans)

    monkeypatch.setattr(reproduce, "launch", watch)
    return groups


def work(table, folder, **options):
    return Reproduction(tables.get(str(table)), folder, Machine(compile="off"), **options)


def fill(table, folder, trials=1, rows=(), columns=("5",), cells=(), **options):
    done = work(table, folder, **options)
    status = done.run(done.table.choose(rows, columns, cells), range(trials))
    return status, {(trial.row, trial.column, trial.trial): trial for trial in done.place.trials()}


def test_students_of_a_teacher_and_a_data_order_learn_together_and_are_trained_once(table, tmp_path, trained):
    status, found = fill(table, tmp_path / "r", trials=2)
    assert status == 0
    assert trained == [["mlp_16"], ["student-5-0"], ["kd-5-0", "dist-5-0"], ["student-5-1"], ["kd-5-1", "dist-5-1"]]
    assert found.keys() == {
        ("teacher", "5", 0), ("teacher", "10", 0),
        *((row, "5", trial) for row in ("student", "kd", "dist") for trial in (0, 1)),
    }  # fmt: skip
    assert found["kd", "5", 0].students == 2 and found["student", "5", 0].students == 1

    del trained[:]
    status, again = fill(table, tmp_path / "r", trials=2, columns=("5", "10"), cells=["kd:10"])
    assert trained == [["student-10-0"], ["kd-10-0", "dist-10-0"], ["student-10-1"], ["kd-10-1", "dist-10-1"]]
    assert {key: trial for key, trial in again.items() if key in found} == found


def test_a_trial_is_what_its_training_alone_gives(table, tmp_path):
    _, found = fill(table, tmp_path / "r", trials=2, rows=["kd", "dist"])
    teacher = tmp_path / "r" / "teachers" / "mlp_16.th"
    alone = tmp_path / "alone"
    done = call(
        f"train-with-transfer --student mlp_8 --teacher mlp_16 --teacher-state-dict-path {teacher} --dataset shapes "
        f"--samples-per-class 5 --loss ce:1 --loss dist:1 --recipe {RECIPE.format(4)} --max-epochs 4 --seed 1 "
        f"--compile off --output-dir {alone} --state-dict-path {tmp_path / 's.th'}"
    )
    assert done.status == 0, done.err
    record = json.loads((alone / "run.json").read_text())
    trial = found["dist", "5", 1]
    assert trial.accuracy == pytest.approx(100 * record["results"]["test"]["last"]["accuracy"], abs=1e-4)
    assert trial.validation_accuracy == pytest.approx(100 * record["results"]["validation"]["last"], abs=1e-4)
    assert trial.record["identity"]["teacher_sha256"] == record["identity"]["teacher_sha256"]
    assert trial.record["data"]["split"] == record["data"]["split"] and trial.record["versions"]["torch"]


def test_a_group_is_as_large_as_was_asked_for(table, tmp_path, trained):
    fill(table, tmp_path / "r", rows=["kd", "dist"], group=1)
    assert trained == [["mlp_16"], ["kd-5-0"], ["dist-5-0"]]


def test_the_report_lies_in_the_folder(table, tmp_path):
    fill(table, tmp_path / "r", rows=["student"], trials=2)
    told = (tmp_path / "r" / "table.md").read_text()
    assert "| student | 20.00 |" in told and "| 2 |" in told
    assert len((tmp_path / "r" / "trials.jsonl").read_text().splitlines()) == 2


KILLED = """
import os, signal, sys
left, replace = int(sys.argv.pop(1)), os.replace
def replace_or_die(*paths):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
os.replace = replace_or_die
from ignite_kd.cli import commands, run
run(commands)
"""


def test_after_kills_at_any_moment_the_same_command_ends_with_the_same_table(table, tmp_path):
    _, undisturbed = fill(table, tmp_path / "undisturbed", rows=["kd", "dist"])
    folder, root = tmp_path / "killed", Path(reproduce.__file__).parents[2]
    words = ["reproduce", str(table), "--row=kd", "--row=dist", "--column=5", "--trials=1", "--compile=off",
             f"--output-dir={folder}"]  # fmt: skip
    for writes in (3, 11, 17, 25, 0):  # in the teacher, between, in the students, at the end; never
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(writes), *words],
            env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == (-signal.SIGKILL if writes else 0), done.stderr
    found = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    numbers = {(t["row"], t["column"], t["trial"]): (t["accuracy"], t["best_accuracy"]) for t in found}
    assert numbers == {key: (trial.accuracy, trial.best_accuracy) for key, trial in undisturbed.items()}
    assert len({json.dumps(t["record"].get("identity")) for t in found}) == 3  # the teacher's trials have none


def test_a_time_limit_stops_and_the_same_command_goes_on(table, tmp_path, trained):
    status, found = fill(table, tmp_path / "r", rows=["kd"], time_limit=1e-9)
    assert (status, found, trained) == (75, {}, [])
    assert fill(table, tmp_path / "r", rows=["kd"])[0] == 0


def test_a_student_that_fails_is_recorded_and_the_others_go_on(table, tmp_path, trained):
    table.write_text(json.dumps(MINE | {"published": {}, "losses": {"kd": ["kd:1"], "broken": ["ce:1", "dist:1e38"]}}))
    status, found = fill(table, tmp_path / "r")
    assert status == 0
    assert found["kd", "5", 0].accuracy is not None
    assert found["broken", "5", 0].accuracy is None and "NaN or infinite" in found["broken", "5", 0].error
    del trained[:]
    assert fill(table, tmp_path / "r")[0] == 0 and trained == []


def test_a_shorter_schedule_is_marked_and_has_a_folder_of_its_own(table, tmp_path):
    _, found = fill(table, tmp_path / "r", rows=["student"], scale=0.5)
    assert (found["student", "5", 0].epochs, found["student", "5", 0].epochs_scale) == (2, 0.5)
    assert "not compared" in (tmp_path / "r" / "table.md").read_text()
    with pytest.raises(UserError, match=r"epochs_scale 0\.5, not 1\.0"):
        fill(table, tmp_path / "r", rows=["student"])


def test_results_of_other_settings_are_not_mixed(table, tmp_path):
    fill(table, tmp_path / "r", rows=["student"])
    table.write_text(json.dumps(MINE | {"recipe": RECIPE.format(4) + ",learning_rate=0.2"}))
    with pytest.raises(UserError, match=r"recipe\.learning_rate was 0\.1 and is 0\.2.*move it and .*student-5-0 away"):
        fill(table, tmp_path / "r", rows=["student"])
    (tmp_path / "r" / "table.md").write_text("of before")
    (tmp_path / "r" / "runs" / "student-5-0").rename(tmp_path / "run")
    (tmp_path / "r" / "trials" / "student-5-0.json").rename(tmp_path / "r" / "trials" / "student-5-1.json")
    with pytest.raises(UserError):
        fill(table, tmp_path / "r", rows=["student"], trials=2)
    assert "of before" not in (tmp_path / "r" / "table.md").read_text()


def test_trials_of_other_settings_that_lie_there_are_not_averaged_in(table, tmp_path, capsys):
    fill(table, tmp_path / "r", rows=["student"], trials=2)
    table.write_text(json.dumps(MINE | {"recipe": RECIPE.format(4) + ",learning_rate=0.2"}))
    for path in ("trials/student-5-0.json", "runs/student-5-0"):  # as the refusal advises
        (tmp_path / "r" / path).rename(tmp_path / Path(path).name)
    _, found = fill(table, tmp_path / "r", rows=["student"])
    assert [key for key in found if key[0] == "student"] == [("student", "5", 0)]
    assert "left out 1 of" in capsys.readouterr().out
    (line,) = [line for line in (tmp_path / "r" / "table.md").read_text().splitlines() if line.startswith("| student")]
    assert "±" not in line


def test_a_limit_that_ends_a_group_with_a_failed_student_is_no_failure(table, tmp_path, monkeypatch):
    table.write_text(json.dumps(MINE | {"published": {}, "losses": {"kd": ["kd:1"], "broken": ["ce:1", "dist:1e38"]}}))
    done, launch = work(table, tmp_path / "r"), reproduce.launch

    def stopped(plans):
        from ignite.engine import Events

        from ignite_kd import plan
        from ignite_kd.classroom import sessions_of, train

        if len(plans) == 1:
            return launch(plans)
        with sessions_of(plan.classmates(plans)) as sessions:
            stopping = sessions[0].stopping
            sessions[0].student.add_event_handler(
                Events.ITERATION_STARTED(once=6), lambda: vars(stopping).update(reason="time limit", status=75)
            )
            return train(sessions)

    monkeypatch.setattr(reproduce, "launch", stopped)
    assert done.run(done.table.choose(columns=["5"]), range(1)) == 75
    found = {trial.row: trial for trial in done.place.trials()}
    assert found["broken"].error and "kd" not in found
    monkeypatch.undo()
    status, again = fill(table, tmp_path / "r")
    assert status == 0 and again["kd", "5", 0].accuracy is not None


def teacher_file(path, seed=0, **card):
    from ignite_kd import models

    torch.manual_seed(seed)
    model = models.build("mlp_16", num_classes=10)
    save_weights(path, model.state_dict(), {"model": "mlp_16", "num_classes": 10, "dataset": "shapes"} | card)
    return str(path)


def test_a_teacher_that_is_given_is_measured_and_used(table, tmp_path, trained, recwarn):
    given = teacher_file(tmp_path / "mine.th")
    _, found = fill(table, tmp_path / "r", rows=["teacher", "kd"], given=[given])
    assert trained == [["kd-5-0"]]
    assert 0 < found["teacher", "5", 0].accuracy < 40  # of ten classes, untrained
    with pytest.raises(UserError, match="learn from another mlp_16"):
        fill(table, tmp_path / "r", rows=["kd"], given=[teacher_file(tmp_path / "other.th", seed=1)])
    with pytest.raises(UserError, match="is not what the students here learned from"):
        save_weights(
            given, {**torch.load(given, weights_only=True), "classifier.bias": torch.ones(10)}, {"model": "mlp_16"}
        )
        fill(table, tmp_path / "r", rows=["kd"], given=[given])


def test_a_teacher_that_nobody_needs_is_one_line(table, tmp_path):
    with pytest.raises(UserError, match="is a mlp_16, but the cells need no teacher"):
        fill(table, tmp_path / "r", rows=["student"], given=[teacher_file(tmp_path / "mine.th")])
    with pytest.raises(UserError, match="cannot read"):
        fill(table, tmp_path / "r", rows=["kd"], given=["nowhere.th"])


def test_a_teacher_of_other_data_is_one_line(table, tmp_path):
    given = teacher_file(tmp_path / "other.th", dataset="cifar10", results={"test": {"last": {"accuracy": 0.99}}})
    with pytest.raises(UserError, match="learned cifar10, but mine is of shapes"):
        fill(table, tmp_path / "r", rows=["kd"], given=[given])


def test_a_wrong_teacher_may_be_put_right_as_long_as_nobody_learned_from_it(table, tmp_path, recwarn):
    wrong, right = teacher_file(tmp_path / "wrong.th"), teacher_file(tmp_path / "right.th", seed=1)
    fill(table, tmp_path / "r", rows=["teacher"], given=[wrong])
    _, found = fill(table, tmp_path / "r", rows=["teacher", "kd"], given=[right])
    assert found["kd", "5", 0].record["identity"]["teacher_sha256"] == digest_of(right)
    assert found["teacher", "5", 0].record["file"] == "right.th"


def test_how_long_and_how_well_a_teacher_learned_is_said(table, tmp_path, capsys):
    given = teacher_file(tmp_path / "mine.th", epochs=1, results={"test": {"last": {"accuracy": 0.5}}})
    fill(table, tmp_path / "r", rows=["teacher"], given=[given])
    assert "mine.th (50.00% on the test set, 1 epochs)" in capsys.readouterr().out
    (line,) = [line for line in (tmp_path / "r" / "table.md").read_text().splitlines() if "| teacher |" in line][:1]
    assert "epochs × 0.5: not compared" in line


def test_the_trial_of_a_teacher_tells_how_it_was_trained(table, tmp_path):
    _, found = fill(table, tmp_path / "r", rows=["teacher"])
    record = json.loads((tmp_path / "r" / "teachers" / "mlp_16" / "run.json").read_text())
    trial, results = found["teacher", "5", 0], record["results"]
    assert trial.accuracy == pytest.approx(100 * results["test"]["last"]["accuracy"], abs=1e-4)
    assert trial.best_accuracy == pytest.approx(100 * results["test"]["best"]["accuracy"], abs=1e-4)
    assert trial.validation_accuracy == pytest.approx(100 * results["validation"]["last"], abs=1e-4)
    assert (trial.record["seed"], trial.record["data"]) == (0, record["data"])


def test_a_student_alone_is_trained_once_for_all_columns_that_ask_for_it(table, tmp_path, trained):
    columns = {"5": MINE["columns"]["5"], "other": MINE["columns"]["5"] | {"teacher": "mlp_12"}}
    table.write_text(json.dumps(MINE | {"columns": columns}))
    status, found = fill(table, tmp_path / "r", rows=["student", "kd"], columns=("other", "5"))
    assert status == 0 and trained[2:] == [["student-5-0"], ["kd-5-0"], ["kd-other-0"]]
    assert found["student", "5", 0].accuracy == found["student", "other", 0].accuracy
    assert found["kd", "5", 0].record["identity"] != found["kd", "other", 0].record["identity"]


def test_a_folder_that_was_moved_is_gone_on_with(table, tmp_path, trained):
    _, found = fill(table, tmp_path / "r", rows=["kd"])
    (tmp_path / "r").rename(tmp_path / "moved")
    del trained[:]
    status, again = fill(table, tmp_path / "moved", rows=["kd", "dist"])
    assert (status, trained) == (0, [["dist-5-0"]])
    assert again["kd", "5", 0] == found["kd", "5", 0]


def test_a_folder_whose_shipped_teacher_was_moved_takes_it_where_it_is_now(table, tmp_path, trained, monkeypatch):
    before, after = teacher_file(tmp_path / "before.th"), tmp_path / "after.th"
    shipped = [Path(before)]
    monkeypatch.setattr("ignite_kd.tables.teachers.shipped", lambda name, table: shipped[0])
    fill(table, tmp_path / "r", rows=["kd"])
    Path(before).rename(after)
    shipped[0] = after
    for rows in (["kd", "dist"], ["kd"]):
        status, _ = fill(table, tmp_path / "r", rows=rows)
        assert status == 0
    assert trained == [["kd-5-0"], ["dist-5-0"]]
    shipped[0] = Path(teacher_file(tmp_path / "other.th", seed=1))
    after.unlink()
    with pytest.raises(UserError, match=r"after\.th"):
        fill(table, tmp_path / "r", rows=["kd"])


def test_a_finished_training_counts_for_all_its_cells_also_without_its_run(table, tmp_path, trained):
    columns = {teacher: MINE["columns"]["5"] | {"teacher": teacher} for teacher in ("mlp_16", "mlp_12")}
    table.write_text(json.dumps(MINE | {"columns": columns, "published": {}}))
    _, found = fill(table, tmp_path / "r", cells=["student:mlp_12"], columns=())
    shutil.rmtree(tmp_path / "r" / "runs")
    del trained[:]
    status, again = fill(table, tmp_path / "r", cells=["student:mlp_16"], columns=())
    assert (status, trained) == (0, [])
    assert again["student", "mlp_16", 0].accuracy == found["student", "mlp_12", 0].accuracy


def test_a_picture_that_cannot_be_drawn_stops_nothing(table, tmp_path, monkeypatch):
    def broken(*_):
        raise UserError("matplotlib cannot be imported")

    monkeypatch.setattr("ignite_kd.tables.report.picture", broken)
    said = []
    status, found = fill(table, tmp_path / "r", rows=["student"], say=said.append)
    assert status == 0 and found and "warning: no picture: matplotlib cannot be imported" in said


def test_what_was_finished_elsewhere_is_not_trained_again(table, tmp_path, trained):
    _, found = fill(table, tmp_path / "there", rows=["student"], trials=2)
    del trained[:]
    lines = [str(tmp_path / "there" / "trials.jsonl")]
    status, taken = fill(table, tmp_path / "here", rows=["student"], trials=3, finished=lines)
    assert (status, trained) == (0, [["student-5-2"]])
    assert [taken["student", "5", i] for i in (0, 1)] == [found["student", "5", i] for i in (0, 1)]
    assert fill(table, tmp_path / "here", rows=["student"], trials=3)[1] == taken  # the copies stay


def test_trials_that_learned_from_other_images_are_told_of(table, tmp_path, capsys):
    fill(table, tmp_path / "r", rows=["student"], trials=3)
    assert "warning" not in capsys.readouterr().out
    path = tmp_path / "r" / "trials" / "student-5-1.json"  # as one that came from a machine whose folder has others
    trial = json.loads(path.read_text())
    trial["record"]["data"]["digest"] = "of other images"
    path.write_text(json.dumps(trial))
    fill(table, tmp_path / "r", rows=["student"], trials=3)
    assert "not all trials learned from the same images: trial 1 of student:5 from others" in capsys.readouterr().out


def test_what_learned_from_another_teacher_elsewhere_is_refused(table, tmp_path, recwarn):
    one, other = teacher_file(tmp_path / "one.th"), teacher_file(tmp_path / "other.th", seed=1)
    fill(table, tmp_path / "there", rows=["kd"], given=[one])
    lines = str(tmp_path / "there" / "trials.jsonl")
    with pytest.raises(UserError, match=r"trials\.jsonl was trained with other settings: teacher_sha256 was"):
        fill(table, tmp_path / "here", rows=["kd"], given=[other], finished=[lines])


def test_a_teacher_of_another_recipe_than_the_tables_is_not_used_on(table, tmp_path):
    fill(table, tmp_path / "r", rows=["kd"])
    table.write_text(json.dumps(MINE | {"teacher_recipe": RECIPE.format(3)}))
    with pytest.raises(UserError, match=r"recipe\.epochs was 2 and is 3"):
        fill(table, tmp_path / "r", rows=["dist"])


def test_another_table_leaves_the_report_of_this_one(table, tmp_path):
    fill(table, tmp_path / "r", rows=["student"])
    before = (tmp_path / "r" / "table.md").read_bytes()
    table.write_text(json.dumps(MINE | {"name": "other", "title": "Another"}))
    with pytest.raises(UserError, match="table mine, not other"):
        fill(table, tmp_path / "r", rows=["student"])
    assert (tmp_path / "r" / "table.md").read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"published": {}, "losses": {"kd": ["kd:1"], "bad": ["nobody:1"]}},
        {"published": {}, "losses": {"kd": ["kd:1"], "bad": ["kd:1", "kd:2"]}},
        {"published": {}, "losses": {"kd": ["kd:1"], "bad": ["ce:0"]}},
        {"published": {}, "losses": {"kd": ["kd:1,temprature=4"]}},
        {"published": {}, "losses": {"kd": ["vid:1,variant=nobody"]}},
        {"columns": MINE["columns"] | {"bad": {"teacher": "mlp_16", "student": "nobody"}}},
        {"columns": MINE["columns"] | {"bad": {"teacher": "mlp_16", "student": "mlp_8", "recipe": "vid,epochs=x"}}},
    ],
)
def test_what_is_wrong_with_a_table_is_found_before_anything_is_trained(table, tmp_path, trained, wrong):
    table.write_text(json.dumps(MINE | wrong))
    with pytest.raises(UserError):
        fill(table, tmp_path / "r", rows=["kd"])
    assert trained == [] and not (tmp_path / "r").exists()


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e9])
def test_a_scale_that_is_none_is_one_line(table, tmp_path, scale):
    with pytest.raises(UserError, match="--epochs-scale"):
        fill(table, tmp_path / "r", scale=scale)


@pytest.mark.parametrize("text", ["{", "[1]", '{"table": "mine"}', '{"table": "mine", "epochs_scale": "1"}'])
def test_damaged_notes_are_one_line(table, tmp_path, text):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "reproduction.json").write_text(text)
    with pytest.raises(UserError, match=r"reproduction\.json is damaged"):
        fill(table, tmp_path / "r", rows=["student"])


def test_a_full_disk_is_no_result(table, tmp_path, monkeypatch):
    def full(path, content, kept):
        raise RunFailed(f"{path} could not be written: No space left on device; {kept}.")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_while_training", full)  # a record is smaller, and finds its place
        with pytest.raises(RunFailed, match="No space left"):
            fill(table, tmp_path / "r", rows=["student"])
    assert not (tmp_path / "r" / "trials").exists()
    _, found = fill(table, tmp_path / "r", rows=["student"])
    _, undisturbed = fill(table, tmp_path / "other", rows=["student"])
    assert found["student", "5", 0].accuracy == undisturbed["student", "5", 0].accuracy


def test_processes_that_tell_of_a_student_that_failed_do_not_stop_the_table(table, tmp_path, monkeypatch):
    table.write_text(json.dumps(MINE | {"published": {}, "losses": {"broken": ["ce:1", "dist:1e38"], "kd": ["kd:1"]}}))
    launch = reproduce.launch

    def as_processes_do(plans):
        try:
            return launch(plans)
        except RunFailed:
            return 1

    monkeypatch.setattr(reproduce, "launch", as_processes_do)
    status, found = fill(table, tmp_path / "r", group=1)
    assert status == 0 and found["broken", "5", 0].error and found["kd", "5", 0].accuracy is not None


def test_two_at_once_in_a_folder_are_refused(table, tmp_path):
    from ignite_kd import run_folder

    (tmp_path / "r").mkdir()
    with run_folder.lock(tmp_path / "r"), pytest.raises(UserError, match="another process"):
        fill(table, tmp_path / "r", rows=["student"])
