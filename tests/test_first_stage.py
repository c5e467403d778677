import dataclasses
import json
import os
import signal

import pytest
import torch
from ignite.engine import Events

from ignite_kd import models, recipes
from ignite_kd.errors import UserError
from ignite_kd.handlers import Checkpoints
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.terms import Term
from ignite_kd.verify import _same


@pytest.fixture
def plan(tmp_path):
    torch.manual_seed(1)
    torch.save(models.build("resnet14", 10).state_dict(), tmp_path / "teacher.pth")
    recipe = recipes.get("crd,batch_size=8,first_stage_epochs=2,test_at_end=false")
    return Plan(
        student="resnet8",
        teacher="resnet14",
        teacher_path=str(tmp_path / "teacher.pth"),
        recipe=recipe,
        dataset="shapes",
        samples_per_class=2,
        max_epochs=1,
        device="cpu",
        output_dir=str(tmp_path / "run"),
    )


def with_loss(plan, method, factor=1.0, **options):
    return dataclasses.replace(plan, terms=(Term("ce"), Term(method, factor, options)))


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def run(plan, spoil=None):
    session = Session(plan)
    try:
        if spoil is not None:
            spoil(session)
        return session.run(), session
    finally:
        session.close()


def weights_at(session, when):
    """A list that gets the student's weights at an event of the training proper."""
    kept = []
    session.student.add_event_handler(
        when, lambda: kept.append({name: t.clone() for name, t in session.model.state_dict().items()})
    )
    return kept


@pytest.mark.parametrize("method", ["ab", "fsp"])
def test_the_features_learn_first_and_the_term_does_nothing_afterwards(plan, method, tmp_path):
    before, started = {}, []

    def watch(session):
        before.update({name: t.clone() for name, t in session.model.state_dict().items()})
        started.append(weights_at(session, Events.STARTED))

    status, _ = run(with_loss(plan, method), watch)
    assert status == 0
    first = lines_of(tmp_path / "run" / f"first-stage-{method}")
    assert [line["epoch"] for line in first] == [1, 2]
    assert first[1][f"train/loss.{method}"] < first[0][f"train/loss.{method}"]
    assert all(line["learning_rate"] == 0.05 for line in first)
    (line,) = lines_of(tmp_path / "run")
    assert "train/loss.ce" in line and f"train/loss.{method}" not in line
    ((after,),) = started
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.partition(".")[0] for name in changed} == {"conv1", "bn1", "layer1", "layer2", "layer3"}


def test_where_the_recipe_says_so_the_term_goes_on_with_its_factor(plan, tmp_path):
    recipe = dataclasses.replace(plan.recipe, first_stage_only=False)
    status, _ = run(with_loss(dataclasses.replace(plan, recipe=recipe), "ab", 0.5))
    (line,) = lines_of(tmp_path / "run")
    last = lines_of(tmp_path / "run" / "first-stage-ab")[-1]
    assert status == 0
    assert 0 < line["train/loss.ab"] < last["train/loss.ab"]


def test_ft_trains_its_paraphraser_first_and_freezes_it(plan, tmp_path):
    factors = {}

    def watch(session):
        head = session.student.heads["ft"]

        def note(student):
            when = "started" if student.state.iteration == 0 else "completed"
            factors[when] = [p.clone() for p in head.paraphraser.parameters()]

            factors["frozen"] = not any(p.requires_grad for p in head.paraphraser.parameters())

        session.student.add_event_handler(Events.STARTED | Events.COMPLETED, note)
        factors["new"] = [p.clone() for p in head.paraphraser.parameters()]
        factors["student"] = weights_at(session, Events.STARTED)
        factors["student new"] = {name: t.clone() for name, t in session.model.state_dict().items()}

    status, _ = run(with_loss(plan, "ft", 200.0), watch)
    assert status == 0
    first = lines_of(tmp_path / "run" / "first-stage-ft")
    assert first[1]["train/loss.reconstruction"] < first[0]["train/loss.reconstruction"]
    assert first[0]["learning_rate"] == 0.01  # of a resnet student, though nothing of it learns here
    assert not any(map(torch.equal, factors["new"], factors["started"]))
    assert all(map(torch.equal, factors["started"], factors["completed"]))
    (started,) = factors["student"]
    assert factors["frozen"]
    assert all(torch.equal(started[name], t) for name, t in factors["student new"].items())


def stop_in_step(step):
    """SIGTERM to this process in its `step`-th step, counted from the beginning of the first stage."""

    def spoil(session):
        steps = []

        def counted(*_):
            steps.append(1)
            if len(steps) == step:
                os.kill(os.getpid(), signal.SIGTERM)

        session.model.conv1.register_forward_hook(counted)  # the student sees a batch once a step
        session.first_stages["ft"].learner.paraphraser.register_forward_hook(
            counted
        ) if "ft" in session.first_stages else 0

    return spoil


@pytest.mark.parametrize(  # three steps make an epoch, six the first stage
    ("method", "step"), [("ab", 2), ("ab", 6), ("ab", 8), ("fsp", 3), ("ft", 2), ("ft", 6), ("ft", 8)]
)
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bits(plan, method, step, tmp_path):
    plan = with_loss(plan, method)
    peaceful = dataclasses.replace(plan, output_dir=str(tmp_path / "peaceful"))
    assert run(peaceful)[0] == 0
    assert run(plan, stop_in_step(step))[0] == 143
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("stopped", "SIGTERM")
    assert run(dataclasses.replace(plan, resume="auto"))[0] == 0
    one, other = (
        torch.load(Checkpoints(tmp_path / folder / "checkpoints", {}).files()[-1], weights_only=True)
        for folder in ("peaceful", "run")
    )
    assert one.keys() == other.keys() and all(_same(one[part], other[part]) for part in one)


def test_a_finished_first_stage_is_not_trained_again(plan, tmp_path, capsys):
    plan = with_loss(plan, "ft")
    assert run(plan)[0] == 0
    capsys.readouterr()
    run(dataclasses.replace(plan, resume="auto", max_epochs=2))
    assert "first    ft" not in capsys.readouterr().out


def test_without_another_term_nothing_would_be_learned_and_that_is_said(plan):
    with pytest.raises(UserError, match="after the first stage of ab nothing would be learned"):
        Session(dataclasses.replace(plan, terms=(Term("ab"),)))


def test_no_epochs_are_no_first_stage(plan, tmp_path):
    recipe = dataclasses.replace(plan.recipe, first_stage_epochs=0)
    status, _ = run(with_loss(dataclasses.replace(plan, recipe=recipe), "ab"))
    assert status == 0
    assert not (tmp_path / "run" / "first-stage-ab").exists()
    assert "train/loss.ab" in lines_of(tmp_path / "run")[0]
