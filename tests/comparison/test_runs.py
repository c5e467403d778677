import json
import warnings
from pathlib import Path

import pytest
import torch

from ignite_kd import models
from ignite_kd.comparison.runs import load_run, load_teacher, short_names, teacher_of
from ignite_kd.errors import UserError
from ignite_kd.handlers import Checkpoints
from ignite_kd.weights import save_weights


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def network(seed=0):
    torch.manual_seed(seed)
    return models.build("mlp_8", 10)


class Steps:
    """What a checkpoint holds of the engine."""

    def __init__(self, iteration):
        self.state = self
        self.iteration = iteration

    def state_dict(self):
        return {"iteration": self.iteration, "epoch_length": 5, "max_epochs": 9}


RECORD = {
    "status": "running",
    "identity": {"teacher_sha256": None},
    "plan": {
        "student": "mlp_8", "dataset": "shapes", "data_dir": "there", "max_epochs": 9, "image_size": None,
        "teacher_path": None, "state_dict_path": "net.th", "recipe": {"normalisation": "zoo"},
        "terms": [{"method": "ce", "factor": 1.0}, {"method": "kd", "factor": 0.5}, {"method": "vid", "factor": 0.0}],
    },
    "data": {"digest": "0123", "classes": 10},
}  # fmt: skip


def run_folder(name="run", record=RECORD, steps=(5, 10)):
    folder = Path(name)
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(record))
    lines = [{"epoch": 1, "validation/accuracy": 0.7}, {"epoch": 2, "validation/accuracy": 0.6}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step in steps:
        student = Steps(step)
        Checkpoints(folder / "checkpoints", {"student": student, "model": network(step)}).save(student)
    return folder


def holds(run, seed):
    return all(torch.equal(run.content.state[name], t) for name, t in network(seed).state_dict().items())


def test_a_run_on_its_way_is_its_newest_checkpoint_and_its_record():
    folder = run_folder()
    run = load_run("run")
    assert holds(run, 10) and run.weights == str(Checkpoints(folder / "checkpoints", {}).files()[-1])
    assert (run.model, run.dataset, run.normalisation, run.data_dir) == ("mlp_8", "shapes", "zoo", "there")
    assert (run.loss, run.epochs, run.planned, run.status) == ("1 ce + 0.5 kd", 2, 9, "running")
    assert run.results == {"validation": {"last": 0.6, "best": 0.7}}


def test_a_torn_checkpoint_is_left_out_and_left_alone():
    folder = run_folder()
    before, torn = Checkpoints(folder / "checkpoints", {}).files()
    torn.write_bytes(torn.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="damaged"):
        run = load_run("run")
    assert holds(run, 5) and run.epochs == 1 and torn.exists()
    before.write_bytes(b"")
    with warnings.catch_warnings(), pytest.raises(UserError, match="no sound checkpoint"):
        warnings.simplefilter("ignore")
        load_run("run")


def test_without_checkpoints_the_file_of_the_record_is_taken():
    run_folder(record=RECORD | {"status": "finished", "epochs": 9}, steps=())
    save_weights("net.th", network(7).state_dict(), {})
    run = load_run("run")
    assert holds(run, 7) and (run.weights, run.epochs) == ("net.th", 9)


def test_a_file_is_known_by_its_card_and_by_its_run_while_that_is_the_same():
    results = {"test": {"last": {"accuracy": 0.5}}}
    card = {
        "model": "mlp_8", "dataset": "shapes", "loss": ["1 ce", "3 at"], "epochs": 4, "results": results,
        "quirks": {"normalisation": "zoo"}, "data": {"digest": "0123"}, "run": "run",
    }  # fmt: skip
    save_weights("net.th", network().state_dict(), card)
    alone = load_run("net.th")
    assert (alone.loss, alone.epochs, alone.results, alone.lines) == ("1 ce + 3 at", 4, results, [])
    assert (alone.normalisation, alone.data) == ("zoo", {"digest": "0123"})

    finished = RECORD | {"status": "finished", "results": results, "seconds": 60.0}
    folder = run_folder(record=finished)
    known = load_run("net.th")
    assert holds(known, 0)  # the file's weights, the record's story
    assert (known.loss, known.epochs, known.seconds, len(known.lines)) == ("1 ce + 0.5 kd", 4, 60.0, 2)

    for other in ({"results": {"test": {"last": {"accuracy": 0.6}}}}, {"status": "running"}):
        (folder / "run.json").write_text(json.dumps(finished | other))
        assert load_run("net.th").loss == "1 ce + 3 at"


def test_a_finished_run_that_goes_on_has_not_the_results_of_its_end_any_more():
    old = {"test": {"last": {"accuracy": 0.5}}, "validation": {"last": 0.4, "best": 0.4}}
    run_folder(record=RECORD | {"status": "stopped", "results": old})
    assert load_run("run").results == {"validation": {"last": 0.6, "best": 0.7}}


def test_where_a_file_is_another_runs_by_now_it_is_not_taken():
    run_folder(record=RECORD | {"status": "finished", "results": {"test": {"last": {"accuracy": 0.6}}}}, steps=())
    save_weights("net.th", network(7).state_dict(), {"results": {"test": {"last": {"accuracy": 0.5}}}})
    with pytest.raises(UserError, match=r"net\.th is another run's by now"):
        load_run("run")


def test_a_run_that_has_begun_has_not_the_weights_that_lie_at_its_files_place():
    run_folder(record=RECORD, steps=())
    torch.save(network(7).state_dict(), "net.th")
    with pytest.raises(UserError, match=r"net\.th is another run's by now"):
        load_run("run")


def test_a_teachers_bare_file_is_what_its_students_record_says():
    torch.manual_seed(0)
    torch.save(models.build("torchvision:squeezenet1_0", 10).state_dict(), "teacher.pth")
    with pytest.raises(UserError, match='with its "sha256"'):
        load_run("teacher.pth")
    plan = RECORD["plan"] | {"teacher": "torchvision:squeezenet1_0", "teacher_path": "teacher.pth"}
    run_folder(record=RECORD | {"plan": plan})
    known = load_teacher("teacher.pth", load_run("run"))
    assert (known.model, known.normalisation) == ("torchvision:squeezenet1_0", "zoo")
    save_weights("net.th", network().state_dict(), {"model": "mlp_8"})
    known = load_teacher("net.th", load_run("run"))
    assert (known.model, known.normalisation) == ("mlp_8", "dataset")  # its card's


def test_epochs_are_those_that_were_trained_and_what_came_before_is_known():
    stopped = {"model": "mlp_8", "dataset": "shapes", "epochs": 9, "status": "stopped", "data": {"digest": "1"}}
    save_weights("net.th", network().state_dict(), stopped)
    run = load_run("net.th")
    assert (run.epochs, run.planned, run.status, run.data_before, run.epochs_before) == (None, 9, "stopped", [], 0)
    earlier = {"epochs": 5, "data": {"digest": "2"}, "started_from": {"card": None}}
    save_weights("net.th", network().state_dict(), stopped | {"epoch": 3, "started_from": {"card": earlier}})
    run = load_run("net.th")
    assert (run.epochs, run.data_before, run.epochs_before) == (3, [{"digest": "2"}, {}], 5)


def test_what_only_a_card_tells_of_a_file_is_believed():
    card = {"model": "resnet8", "dataset": "folder", "image_size": 64, "minutes": 2, "precision": "bf16"}
    save_weights("net.th", models.build("resnet8", 10).state_dict(), card | {"teacher": "wrn_16_2"})
    run = load_run("net.th")
    assert (run.image_size, run.seconds, run.precision, run.is_taught) == (64, 120.0, "bf16", True)
    file, problem = teacher_of(run)
    assert file is None and "which wrn_16_2 taught it; name it with --teacher FILE" in problem


def test_a_bare_file_is_recognised():
    torch.save(network().state_dict(), "bare.th")
    run = load_run("bare.th")
    assert (run.model, run.dataset, run.results) == ("mlp_8", None, {})


@pytest.mark.parametrize("record", [None, "{", "[]", '{"status": "finished"}'])
def test_a_folder_that_is_no_run_is_named(record):
    Path("run").mkdir()
    if record:
        Path("run/run.json").write_text(record)
    with pytest.raises(UserError, match=r"^run"):
        load_run("run")


@pytest.mark.parametrize(
    "damage",
    [
        {"plan": {}},
        {"plan": RECORD["plan"] | {"recipe": 5}},
        {"data": 5},
        {"status": "finished", "results": 7},
        {"seconds": "x"},
    ],
)
def test_a_damaged_record_is_one_line(damage):
    run_folder(record=RECORD | damage)
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        load_run("run")


@pytest.mark.parametrize("damage", [{"plan": {}}, {"plan": 5}, {"identity": "x"}, {"seconds": "x"}])
def test_weights_whose_run_has_a_damaged_record_have_their_card(damage):
    results = {"test": {"last": 0.8}}
    run_folder(record=RECORD | {"results": results} | damage)
    save_weights("net.th", network().state_dict(), {"model": "mlp_8", "run": "run", "results": results, "seed": 3})
    run = load_run("net.th")
    assert (run.model, run.results, run.seed) == ("mlp_8", results, 3)


def test_a_folder_of_runs_names_them():
    Path("all").mkdir()
    run_folder("all/kd")
    with pytest.raises(UserError, match="it holds runs: all/kd"):
        load_run("all")
    Path("table").mkdir()
    Path("all").rename("table/runs")
    with pytest.raises(UserError, match="it holds runs: table/runs/kd"):
        load_run("table")


def test_a_teacher_is_believed_while_its_file_is_the_one_that_taught():
    save_weights("teacher.th", network().state_dict(), {})
    digest = json.loads(Path("teacher.th.json").read_text())["sha256"]
    plan = RECORD["plan"] | {"teacher_path": "teacher.th"}
    run_folder(record=RECORD | {"plan": plan, "identity": {"teacher_sha256": digest}})
    assert teacher_of(load_run("run")) == ("teacher.th", None)
    save_weights("teacher.th", network(1).state_dict(), {})
    assert teacher_of(load_run("run"))[0] is None and "another file" in teacher_of(load_run("run"))[1]
    Path("teacher.th").unlink()
    assert teacher_of(load_run("run"))[0] is None and "--teacher" in teacher_of(load_run("run"))[1]


def test_names_are_as_long_as_it_takes():
    assert short_names(["runs/kd", "runs/vid"]) == ["kd", "vid"]
    assert short_names(["a/kd", "b/kd", "b/vid"]) == ["a/kd", "b/kd", "b/vid"]
    assert short_names(["kd"]) == ["kd"]


def test_the_images_of_a_folder_have_a_size_even_where_nobody_named_it():
    """Else a run of 32 pixels would be held against one of 16 on images of 32."""
    plan = RECORD["plan"] | {"dataset": "folder"}
    assert load_run(str(run_folder("usual", RECORD | {"plan": plan}))).image_size == 32
    assert load_run(str(run_folder("large", RECORD | {"plan": plan | {"image_size": 64}}))).image_size == 64
    assert load_run(str(run_folder("shapes"))).image_size is None
