import dataclasses
import json

import pytest
import torch
from ignite.engine import Events

from ignite_kd import models, recipes
from ignite_kd.classroom import sessions_of, train
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.plan import Plan, classmates
from ignite_kd.terms import Term
from ignite_kd.weights import save_weights


@pytest.fixture
def plan(tmp_path):
    torch.manual_seed(0)
    save_weights(tmp_path / "teacher.th", models.build("mlp_16", 10).state_dict(), card={})
    return Plan(
        student="mlp_8",
        teacher="mlp_16",
        teacher_path=str(tmp_path / "teacher.th"),
        recipe=recipes.get("vid,batch_size=50,validation_images=100"),
        dataset="shapes",
        samples_per_class=20,
        max_epochs=3,
        terms=(Term("ce"), Term("kd")),
        device="cpu",
        output_dir=str(tmp_path / "run"),
        state_dict_path=str(tmp_path / "net.th"),
    )


def three(plan):
    """Two seeds and another method, on the batches of the first."""
    return [
        plan,
        dataclasses.replace(plan, seed=1, order_seed=0),
        dataclasses.replace(plan, terms=(Term("ce"), Term("vid", 0.1)), student="mlp_12"),
    ]


def run(plans):
    with sessions_of(classmates(plans)) as sessions:
        return train(sessions), sessions


def weights(plan):
    return torch.load(plan.state_dict_path, weights_only=True)


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def epochs(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture
def alone(plan, tmp_path):
    """Folder and weights of each student, trained in a run of its own."""
    plans = [
        dataclasses.replace(p, output_dir=str(tmp_path / f"alone{i}"), state_dict_path=str(tmp_path / f"alone{i}.th"))
        for i, p in enumerate(three(plan))
    ]
    for one in plans:
        assert run([one])[0] == 0
    return [(epochs(tmp_path / f"alone{i}"), weights(one)) for i, one in enumerate(plans)]


LABELS = ["kd1-seed0", "kd1-seed1", "vid0.1-seed0"]


def test_each_has_a_folder_weights_and_metrics_as_if_it_ran_alone(plan, alone, tmp_path):
    status, sessions = run(three(plan))
    assert status == 0
    for (lines, state), label, session in zip(alone, LABELS, sessions, strict=True):
        assert session.folder == tmp_path / "run" / label
        assert epochs(session.folder) == lines
        assert same(torch.load(tmp_path / f"net-{label}.th", weights_only=True), state)
        record = json.loads((session.folder / "run.json").read_text())
        assert record["status"] == "finished"
        others = [str(tmp_path / "run" / other) for other in LABELS if other != label]
        assert record["classmates"] == others  # that trials share their batches is no secret


def test_the_teacher_looks_once_at_each_batch(plan):
    with sessions_of(classmates(three(plan))) as sessions:
        looks = []
        teacher = sessions[0].teacher
        plain = teacher.network
        teacher.network = lambda images: looks.append(1) or plain(images)
        train(sessions)
    assert len(looks) == 3 * 4


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_stop_in_the_middle_of_the_class_is_gone_on_with_exactly(plan, alone, tmp_path, place):
    """Students then stand at different steps: those that are behind catch up."""
    plans = three(plan)
    with sessions_of(classmates(plans)) as sessions:
        stopping = sessions[0].stopping
        sessions[place].student.add_event_handler(
            Events.ITERATION_STARTED(once=6), lambda: vars(stopping).update(reason="a test", status=75)
        )
        assert train(sessions) == 75
        assert len({session.student.state.iteration for session in sessions}) == (2 if place else 1)
    status, sessions = run([dataclasses.replace(p, resume="auto") for p in plans])
    assert status == 0
    for (lines, state), label in zip(alone, LABELS, strict=True):
        assert epochs(tmp_path / "run" / label) == lines
        assert same(torch.load(tmp_path / f"net-{label}.th", weights_only=True), state)


def test_a_finished_one_is_left_alone_while_others_go_on(plan, capsys):
    first, *others = three(plan)
    named = classmates([first, *others])
    assert run([named[LABELS[0]]])[0] == 0
    status, sessions = run([dataclasses.replace(p, resume="auto") for p in three(plan)])
    assert status == 0
    assert "is finished" in capsys.readouterr().out
    assert [session.student.state.iteration for session in sessions[1:]] == [12, 12]


def test_who_learned_beside_a_student_is_remembered_when_it_goes_on_alone(plan, tmp_path):
    named = classmates(three(plan))
    assert run(list(named.values()))[0] == 0
    longer = dataclasses.replace(named[LABELS[0]], max_epochs=4, resume="auto")
    assert run([longer])[0] == 0
    record = json.loads((tmp_path / "run" / LABELS[0] / "run.json").read_text())
    assert record["classmates"] == [str(tmp_path / "run" / other) for other in LABELS[1:]]


@pytest.mark.filterwarnings("ignore")
def test_one_that_fails_is_told_of_and_the_others_end_as_alone(plan, alone, tmp_path, capsys):
    with sessions_of(classmates(three(plan))) as sessions:
        sessions[1].student.add_event_handler(
            Events.ITERATION_STARTED(once=7), lambda student: student.model.fc.bias.data.fill_(float("nan"))
        )
        with pytest.raises(RunFailed, match=r"1 of 3 students failed: kd1-seed1; the others went on."):
            train(sessions)
    assert "[kd1-seed1] failed: the loss 'ce' was NaN" in capsys.readouterr().out
    for i in (0, 2):
        assert same(torch.load(tmp_path / f"net-{LABELS[i]}.th", weights_only=True), alone[i][1])
    assert not (tmp_path / "net-kd1-seed1.th").exists()
    record = json.loads((tmp_path / "run" / "kd1-seed1" / "run.json").read_text())
    assert record["status"] == "failed"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"samples_per_class": 10}, "share samples_per_class, but 20 and 10"),
        ({"recipe": recipes.get("vid,batch_size=25,validation_images=100")}, "share batch_size, but 50 and 25"),
        ({"seed": 4}, "share order, but 0 and 4"),
        ({"state_dict_path": "elsewhere.th"}, r"two students are alike \(kd1-seed0-"),
    ],
)
def test_what_students_of_one_run_must_share(plan, change, told):
    with pytest.raises(UserError, match=told):
        classmates([plan, dataclasses.replace(plan, **change)])


def test_one_that_is_refused_leaves_no_folder_of_another(plan, tmp_path):
    plans = [plan, dataclasses.replace(plan, student="wrn_11_1")]
    with pytest.raises(UserError, match="6n"), sessions_of(classmates(plans)):
        pass
    assert not list((tmp_path / "run").glob("*"))


def test_students_that_differ_in_an_option_alone_have_different_names(plan):
    options = [(Term("ce"), Term("kd", 1.0, {"temperature": t})) for t in (1.0, 2.0)]
    first, second = classmates([dataclasses.replace(plan, terms=terms) for terms in options])
    assert first != second
    assert first.startswith("kd1-seed0-")
    assert second.startswith("kd1-seed0-")


def test_what_one_process_of_several_fails_at_ends_the_class(plan):
    """The others know nothing of its full disk: if it went on with the next student, they would not."""
    with sessions_of(classmates(three(plan))) as sessions:

        def full():
            sessions[1].processes = 2
            raise RunFailed("no space left")

        sessions[1].student.add_event_handler(Events.ITERATION_STARTED(once=7), full)
        with pytest.raises(RunFailed, match="no space left"):
            train(sessions)
        assert sessions[2].student.state.iteration < 12


def test_one_whose_end_fails_does_not_keep_the_others_from_theirs(plan, monkeypatch, capsys):
    def fail():
        raise OSError(28, "No space left on device")

    with sessions_of(classmates(three(plan))) as sessions:
        monkeypatch.setattr(sessions[0], "finish", fail)
        with pytest.raises(RunFailed, match="1 of 3 students failed"):
            train(sessions)
        status = [json.loads((session.folder / "run.json").read_text())["status"] for session in sessions]
    assert status == ["running", "finished", "finished"]
    assert "No space left on device; go on with --resume auto" in capsys.readouterr().out
