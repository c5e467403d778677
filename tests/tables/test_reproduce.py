import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import call
from filled import MINE, RECIPE, fill, teacher_file, work

from ignite_kd.errors import RunFailed, UserError
from ignite_kd.handlers import checkpoint
from ignite_kd.tables import reproduce


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


def test_a_student_alone_is_trained_once_for_all_columns_that_ask_for_it(table, tmp_path, trained):
    columns = {"5": MINE["columns"]["5"], "other": MINE["columns"]["5"] | {"teacher": "mlp_12"}}
    table.write_text(json.dumps(MINE | {"columns": columns}))
    status, found = fill(table, tmp_path / "r", rows=["student", "kd"], columns=("other", "5"))
    assert status == 0 and trained[2:] == [["student-5-0"], ["kd-5-0"], ["kd-other-0"]]
    assert found["student", "5", 0].accuracy == found["student", "other", 0].accuracy
    assert found["kd", "5", 0].record["identity"] != found["kd", "other", 0].record["identity"]


def test_a_finished_training_counts_for_all_its_cells_also_without_its_run(table, tmp_path, trained):
    columns = {teacher: MINE["columns"]["5"] | {"teacher": teacher} for teacher in ("mlp_16", "mlp_12")}
    table.write_text(json.dumps(MINE | {"columns": columns, "published": {}}))
    _, found = fill(table, tmp_path / "r", cells=["student:mlp_12"], columns=())
    shutil.rmtree(tmp_path / "r" / "runs")
    del trained[:]
    status, again = fill(table, tmp_path / "r", cells=["student:mlp_16"], columns=())
    assert (status, trained) == (0, [])
    assert again["student", "mlp_16", 0].accuracy == found["student", "mlp_12", 0].accuracy


def test_what_was_finished_elsewhere_is_not_trained_again(table, tmp_path, trained):
    _, found = fill(table, tmp_path / "there", rows=["student"], trials=2)
    del trained[:]
    lines = [str(tmp_path / "there" / "trials.jsonl")]
    status, taken = fill(table, tmp_path / "here", rows=["student"], trials=3, finished=lines)
    assert (status, trained) == (0, [["student-5-2"]])
    assert [taken["student", "5", i] for i in (0, 1)] == [found["student", "5", i] for i in (0, 1)]
    assert fill(table, tmp_path / "here", rows=["student"], trials=3)[1] == taken  # the copies stay


def test_what_learned_from_another_teacher_elsewhere_is_refused(table, tmp_path, recwarn):
    one, other = teacher_file(tmp_path / "one.th"), teacher_file(tmp_path / "other.th", seed=1)
    fill(table, tmp_path / "there", rows=["kd"], given=[one])
    lines = str(tmp_path / "there" / "trials.jsonl")
    with pytest.raises(UserError, match=r"trials\.jsonl was trained with other settings: teacher_sha256 was"):
        fill(table, tmp_path / "here", rows=["kd"], given=[other], finished=[lines])


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
