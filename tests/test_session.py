import dataclasses
import json

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import data, heads, loaders, models, recipes
from ignite_kd.cards import read_card
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.handlers import evaluate
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.terms import Term
from ignite_kd.weights import save_weights


@pytest.fixture
def plan(tmp_path):
    return Plan(
        student="mlp_8",
        recipe=recipes.get("vid,batch_size=50,validation_images=100"),
        dataset="shapes",
        samples_per_class=20,
        max_epochs=2,
        terms=(Term("ce"),),
        device="cpu",
        output_dir=str(tmp_path / "run"),
        state_dict_path=str(tmp_path / "net.th"),
    )


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_becomes_no_number_keeps_the_last_good_checkpoint(plan, tmp_path):
    session = Session(plan)

    def spoil(student):
        student.model.fc.bias.data.fill_(float("nan"))

    session.student.add_event_handler(Events.ITERATION_STARTED(once=7), spoil)  # four steps make an epoch
    with pytest.raises(RunFailed, match=r"the loss 'ce' was NaN or infinite at epoch 2, iteration 7") as failure:
        session.run()
    session.close()
    (saved,) = (tmp_path / "run" / "checkpoints").glob("step-*.pt")
    assert str(saved) in str(failure.value)
    state = torch.load(saved, weights_only=True)
    assert state["student"]["iteration"] == 4
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["diverged"]) == ("failed", True) and record["seconds"] >= 0
    assert not (tmp_path / "net.th").exists()

    resumed = Session(dataclasses.replace(plan, resume="auto"))
    assert resumed.run() == 0
    resumed.close()
    assert (tmp_path / "net.th").exists()


def test_weights_that_become_infinite_are_not_saved(plan, tmp_path):
    session = Session(plan)
    session.student.add_event_handler(
        Events.ITERATION_COMPLETED(once=4), lambda student: student.model.fc.weight.data.fill_(float("inf"))
    )
    with pytest.raises(RunFailed, match="weights of 'student' became NaN or infinite by epoch 1, iteration 4"):
        session.run()
    session.close()
    assert not list((tmp_path / "run" / "checkpoints").glob("step-*.pt"))


def test_users_handlers_attach_to_the_student_of_a_session(plan):
    seen = []
    session = Session(plan)
    session.student.add_event_handler(Events.EPOCH_COMPLETED, lambda student: seen.append(student.state.epoch))
    assert session.run() == 0
    session.close()
    assert seen == [1, 2]


class Shift(heads.Head):
    """Adds a learned number to a loss: nobody's paper."""

    name, needs_teacher = "shift", False

    def __init__(self):
        super().__init__()
        self.number = nn.Parameter(torch.tensor(3.0))

    def forward(self, student, teacher, batch):
        return (self.number - student.logits.mean()) ** 2


def test_a_head_that_is_attached_to_a_session_is_saved_and_resumed(plan):
    def attached(**changes):
        session = Session(dataclasses.replace(plan, **changes))
        head = Shift()
        head.attach(session.student)
        return session, head

    first, head = attached()
    first.student.add_event_handler(Events.ITERATION_COMPLETED(once=6), lambda student: student.terminate())
    first.run()
    first.close()
    resumed, again = attached(resume="auto")
    seen = []
    resumed.student.add_event_handler(Events.STARTED, lambda: seen.append(again.number.item()))
    assert resumed.run() == 0
    resumed.close()
    assert seen == [head.number.item()] != [3.0]
    whole, other = attached(output_dir=f"{plan.output_dir}-whole")
    whole.run()
    whole.close()
    assert torch.equal(other.number, again.number)


@pytest.mark.parametrize("before", [True, False])
def test_what_was_attached_before_must_be_attached_again(plan, before):
    first = Session(plan)
    if before:
        Shift().attach(first.student)
    first.student.add_event_handler(Events.ITERATION_COMPLETED(once=6), lambda student: student.terminate())
    first.run()
    first.close()
    resumed = Session(dataclasses.replace(plan, resume="auto"))
    if not before:
        Shift().attach(resumed.student)
    with pytest.raises(UserError, match=r"was written with other heads \(head\.shift\); attach to the student what"):
        resumed.run()
    resumed.close()


def test_an_epoch_at_whose_last_step_a_handler_stops_is_whole(plan):
    session = Session(plan)
    session.student.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda student: student.terminate())
    session.run()
    session.close()
    (line,) = session.record.read()
    assert line["iteration"] == 4 and "validation/accuracy" in line
    resumed, whole = run(plan, resume="auto"), run(plan, output_dir=f"{plan.output_dir}-whole")
    assert [line["train/loss"] for line in resumed.record.read()] == [
        line["train/loss"] for line in whole.record.read()
    ]


def test_the_record_tells_the_rate_that_was_used_on_a_plateau(plan):
    recipe = dataclasses.replace(plan.recipe, schedule="plateau", patience=0, decay=0.5, learning_rate=1.0)
    lines = run(plan, recipe=recipe, max_epochs=6).record.read()
    rate, best, used = 1.0, float("inf"), []
    for line in lines:
        used.append(rate)
        if line["validation/loss"] < best * (1 - 1e-4):  # as little as torch's scheduler counts
            best = line["validation/loss"]
        else:
            rate *= 0.5
    assert [line["learning_rate"] for line in lines] == used
    assert min(used) < 1


def test_two_sessions_do_not_share_a_folder(plan):
    session = Session(plan)
    from ignite_kd.errors import UserError

    with pytest.raises(UserError, match="another process is training"):
        Session(plan)
    session.close()


def test_a_terminated_student_is_recorded_as_stopped(plan, tmp_path):
    session = Session(plan)
    session.student.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda student: student.terminate())
    session.run()
    session.close()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("stopped", "a handler")
    assert not (tmp_path / "net.th").exists()


def run(plan, **changes):
    session = Session(dataclasses.replace(plan, **changes))
    try:
        assert session.run() == 0
        return session
    finally:
        session.close()


def test_a_recipe_may_evaluate_the_test_set_after_every_epoch(plan, tmp_path):
    quiet = run(plan)
    told = run(plan, recipe=recipes.get("vid,batch_size=50,validation_images=100,test_every_epoch=true"),
               output_dir=str(tmp_path / "other"))  # fmt: skip
    assert all("test/accuracy" not in line for line in quiet.record.read())
    lines = told.record.read()
    assert len(lines) == 2 and {"test/accuracy", "test/top5", "test/loss"} <= lines[0].keys()
    last = json.loads((tmp_path / "other" / "run.json").read_text())["results"]["test"]["last"]
    assert lines[-1]["test/accuracy"] == last["accuracy"]
    results = json.loads((tmp_path / "other" / "run.json").read_text())["results"]
    reached = [line["test/accuracy"] for line in lines]
    assert results["test"]["highest"] == {"accuracy": max(reached), "epoch": 1 + reached.index(max(reached))}
    assert f"highest {max(reached):.2%}" in json.loads((tmp_path / "other" / "run.json").read_text())["summary"]
    assert all(
        torch.equal(t, told.model.state_dict()[name]) for name, t in quiet.model.state_dict().items()
    )  # evaluating changes nothing


@pytest.mark.parametrize("doubled", [False, True])
def test_the_norms_of_a_wide_residual_student_move_twice_a_step_where_the_recipe_says_so(plan, doubled):
    recipe = dataclasses.replace(plan.recipe, doubled_norm_updates=doubled, test_at_end=False)
    model = run(plan, student="wrn_10_1", recipe=recipe, max_epochs=1).model
    steps = 4
    moved = {name: int(t) for name, t in model.state_dict().items() if name.endswith("num_batches_tracked")}
    twice = {"layer2.layer.0.bn1", "layer3.layer.0.bn1", "bn1"}
    assert moved == {
        name: steps * (2 if doubled and name.removesuffix(".num_batches_tracked") in twice else 1) for name in moved
    }


def test_the_zoos_constants_normalise_the_images_where_the_recipe_says_so(plan, tmp_path):
    session, other = (
        Session(dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, normalisation=which),
                                    output_dir=str(tmp_path / which)))
        for which in ("dataset", "zoo")
    )  # fmt: skip
    plain, zoo = (next(iter(each.data.test)).images for each in (session, other))
    shapes = data.load("shapes")
    mean, std = shapes.mean, shapes.std
    pixels = plain * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    expected = (pixels - torch.tensor([0.4814, 0.4822, 0.4465])[:, None, None]) / torch.tensor(
        [0.2023, 0.1994, 0.2010]
    )[:, None, None]
    assert torch.allclose(zoo, expected, atol=1e-5)
    session.close()
    other.close()


def test_a_warm_up_reaches_the_loss(plan, tmp_path):
    torch.save(models.build("mlp_8", 10).state_dict(), tmp_path / "teacher.th")
    taught = {"teacher": "mlp_8", "teacher_path": str(tmp_path / "teacher.th")}
    session = Session(dataclasses.replace(plan, terms=(Term("ce"), Term("kd", 2.0, {}, 4)), **taught))
    seen = []
    session.student.add_event_handler(Events.EPOCH_COMPLETED, lambda student: seen.append(student.factors["kd"]))
    session.run()
    session.close()
    assert seen == [0.5, 1.0]


def test_what_heads_train_learns_at_a_rate_of_its_own_where_the_recipe_says_so(plan, tmp_path):
    """With a rate of nearly nothing a head stays as it was built; its moments come back on resume."""
    torch.manual_seed(0)
    save_weights(tmp_path / "teacher.th", models.build("mlp_8", 10).state_dict(), {"model": "mlp_8"})
    plan = dataclasses.replace(
        plan,
        recipe=recipes.get("vid,batch_size=50,validation_images=100,head_rate=1e-9"),
        teacher="mlp_8",
        teacher_path=str(tmp_path / "teacher.th"),
        terms=(Term("ce"), Term("vid", 0.1)),
    )
    session = Session(plan)
    head = session.student.heads["vid"]
    before = [p.detach().clone() for p in head.parameters()]
    session.student.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda student: student.terminate())
    session.run()
    session.close()
    for parameter, start in zip(head.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), start, rtol=0, atol=1e-6)
    resumed = Session(dataclasses.replace(plan, resume="auto"))
    known = []

    @resumed.student.on(Events.STARTED)
    def look(student):
        groups = student.optimizer.param_groups
        assert [group.get("rate") for group in groups] == [None, 1e-9]
        known.extend("momentum_buffer" in student.optimizer.state[p] for group in groups for p in group["params"])

    assert resumed.run() == 0
    resumed.close()
    assert known and all(known)


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_has_the_history_of_one_that_was_left_in_peace(plan, tmp_path):
    def run(folder, kill_at=None, resume="never"):
        wanted = dataclasses.replace(
            plan, output_dir=str(tmp_path / folder), state_dict_path=None, keep_epochs=(0, 1), resume=resume
        )
        session = Session(wanted)
        if kill_at:
            session.student.add_event_handler(Events.ITERATION_COMPLETED(once=kill_at), kill)
        try:
            session.run()
        finally:
            session.close()
        return {path.name: path.read_bytes() for path in (tmp_path / folder / "history").iterdir()}

    def kill():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("killed", kill_at=6)
    resumed, whole = run("killed", resume="auto"), run("whole")
    # the last epoch, 2, is always among them
    assert sorted(whole) == ["epoch-0000.th", "epoch-0001.th", "epoch-0002.th", "weight-path.pt"]
    assert resumed == whole
    with pytest.raises(UserError, match=r"other arguments: keep_epochs was \[0, 1\] and is None"):
        Session(dataclasses.replace(plan, output_dir=str(tmp_path / "whole"), state_dict_path=None, resume="auto"))


def killed_after_an_epoch(plan):
    session = Session(plan)
    session.student.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        session.run()
    session.close()


def test_the_time_of_a_run_that_was_killed_counts(plan, tmp_path):
    """`run.json` of a killed run has no time yet, its epochs do."""
    killed_after_an_epoch(plan)
    lines = tmp_path / "run" / "metrics.jsonl"
    lines.write_text(json.dumps(json.loads(lines.read_text()) | {"seconds": 1000.0}) + "\n")
    run(plan, resume="auto")
    assert 1000 < json.loads((tmp_path / "run" / "run.json").read_text())["seconds"] < 1100


def test_what_a_run_was_begun_on_is_not_forgotten_where_it_ends_elsewhere(plan, tmp_path):
    killed_after_an_epoch(plan)
    record = tmp_path / "run" / "run.json"
    begun = json.loads(record.read_text())
    assert begun["earlier"] == []
    record.write_text(json.dumps(begun | {"device": "another machine", "command": "the first"}))
    for max_epochs in (2, 3):  # the third session finds the second's machine
        run(plan, resume="auto", max_epochs=max_epochs)
    ended = json.loads(record.read_text())
    assert ended["earlier"] == [{"device": "another machine", "command": "the first", "versions": begun["versions"]}]
    assert ended["device"] == begun["device"]
    assert len(begun["versions"]["ignite-kd source"]) == 12
    assert read_card(plan.state_dict_path)["earlier"] == ended["earlier"]


def test_a_fresh_split_is_drawn_once_for_all_processes(plan, monkeypatch):
    monkeypatch.setattr(loaders, "agree", lambda number: [77.0])  # what the first process drew
    fresh = recipes.get("vid,batch_size=50,validation_images=100,fresh_split=true")
    one = Session(dataclasses.replace(plan, recipe=fresh))
    one.close()
    assert one.data.split.spec.seed == 77
    monkeypatch.undo()
    drawn = set()
    for folder in ("a", "b"):
        one = Session(dataclasses.replace(plan, recipe=fresh, output_dir=f"{plan.output_dir}{folder}"))
        one.close()
        drawn.add(one.data.split.spec.seed)
    assert len(drawn) == 2


def test_a_run_that_ends_sooner_than_planned_is_validated_at_its_end(plan, tmp_path):
    rarely = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, validate_every=3), max_epochs=6)
    first = Session(rarely)
    first.student.add_event_handler(Events.EPOCH_COMPLETED(once=4), first.student.terminate)
    assert first.run() == 0
    first.close()
    assert "validation/accuracy" not in first.record.read()[-1]
    resumed = run(rarely, max_epochs=4, resume="auto")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    expected = evaluate(resumed.model, resumed.data.validation)["accuracy"]
    assert record["status"] == "finished" and record["results"]["validation"]["last"] == expected
