import dataclasses
import errno
import fcntl
import json
import subprocess
import sys

import pytest

from ignite_kd import recipes, run_folder
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan

PLAN = Plan(student="wrn_16_1", recipe=recipes.get("vid"))


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def record(folder, **content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(content))


def test_each_new_run_has_a_folder_of_its_own():
    first, resuming = run_folder.choose(PLAN)
    assert not resuming and first.is_dir()
    record(first)
    second, resuming = run_folder.choose(PLAN)
    assert not resuming and second.name == f"{first.name}-2"


def test_resume_auto_takes_the_newest_run_of_the_same_arguments_or_a_new_folder():
    auto = dataclasses.replace(PLAN, resume="auto")
    first, resuming = run_folder.choose(auto)
    assert not resuming
    record(first)
    record(first.with_name(f"{first.name}-2"))
    assert run_folder.choose(auto) == (first.with_name(f"{first.name}-2"), True)
    assert run_folder.choose(dataclasses.replace(auto, seed=3))[1] is False


def test_a_named_folder_with_a_run_is_only_gone_on_with_when_asked(tmp_path):
    plan = dataclasses.replace(PLAN, output_dir=str(tmp_path / "mine"))
    assert run_folder.choose(plan) == (tmp_path / "mine", False)
    record(tmp_path / "mine")
    with pytest.raises(UserError, match="holds a run already; add --resume auto"):
        run_folder.choose(plan)
    assert run_folder.choose(dataclasses.replace(plan, resume="auto")) == (tmp_path / "mine", True)


def test_changed_arguments_are_refused_by_name(tmp_path):
    record(tmp_path, identity=PLAN.identity())
    assert run_folder.refuse_changes(tmp_path, PLAN.identity())["identity"] == PLAN.identity()
    with pytest.raises(UserError, match="seed was 0 and is 4"):
        run_folder.refuse_changes(tmp_path, dataclasses.replace(PLAN, seed=4).identity())


def test_the_words_that_say_where_a_recipe_is_from_decide_nothing(tmp_path):
    recipe = dataclasses.replace(PLAN.recipe, source="said otherwise")
    now = dataclasses.replace(PLAN, recipe=recipe).identity()
    older = PLAN.identity()
    older["recipe"] = older["recipe"] | {"source": PLAN.recipe.source}  # as it was recorded
    assert run_folder.changes(older, now) == run_folder.changes(PLAN.identity(), now) == []


def test_what_an_older_version_did_not_know_was_as_it_is_by_default(tmp_path):
    identity = PLAN.identity()
    del identity["frozen"], identity["recipe"]["views"]
    record(tmp_path, identity=identity)
    assert run_folder.refuse_changes(tmp_path, PLAN.identity())["identity"] == identity
    for changed in (
        dataclasses.replace(PLAN, frozen="fc1"),
        dataclasses.replace(PLAN, recipe=recipes.get("vid,views=squash")),
    ):
        with pytest.raises(UserError, match=r"frozen was None and is 'fc1'|recipe\.views was 'usual' and is 'squash'"):
            run_folder.refuse_changes(tmp_path, changed.identity())


@pytest.mark.parametrize(
    "damage",
    [
        {"identity": {"recipe": 5}},
        {"data": None},
        {"data": {"split": "x"}},
        {"data": {"split": {"seed": "x"}}},
        {"processes": 2},
        {"processes": []},
        {"seconds": None},
    ],
)
def test_a_record_with_damaged_entries_is_refused(tmp_path, damage):
    record(tmp_path, **({"identity": PLAN.identity()} | damage))
    with pytest.raises(UserError, match=r"run\.json is no run's record"):
        run_folder.refuse_changes(tmp_path, PLAN.identity())


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_file_that_is_no_record_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json is (damaged; restore it|no run's record)"):
        run_folder.refuse_changes(tmp_path, PLAN.identity())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create"):
        run_folder.choose(dataclasses.replace(PLAN, output_dir=str(tmp_path / "file" / "run")))


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    code = f"from pathlib import Path; from ignite_kd import run_folder; run_folder.lock(Path({str(tmp_path)!r}))"
    held = run_folder.lock(tmp_path)
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process is training" in refused.stderr
    held.close()
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    run_folder.lock(tmp_path).close()


def test_a_first_stage_without_a_record_is_not_taken_for_another_runs(tmp_path):
    (tmp_path / "first-stage-ab" / "checkpoints").mkdir(parents=True)
    (tmp_path / "first-stage-ab" / "checkpoints" / "step-0001.pt").touch()
    with pytest.raises(UserError, match=r"holds checkpoints but no run\.json"):
        run_folder.choose(dataclasses.replace(PLAN, output_dir=str(tmp_path)))
