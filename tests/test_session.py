import dataclasses
import json

import pytest
import torch
from ignite.engine import Events

from ignite_kd import recipes
from ignite_kd.errors import RunFailed
from ignite_kd.plan import Plan, Term
from ignite_kd.session import Session


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
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
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
