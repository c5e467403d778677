import numpy as np
import pytest
import torch
from ignite.engine import Events

from ignite_kd import StudentEngine
from ignite_kd.handlers import LogSpace, OneCycle, Plateau, StepSchedule
from ignite_kd.heads import CrossEntropy


@pytest.mark.parametrize("decay", [0.2, 0.9])
def test_the_rate_is_torchs_multi_step_rate_to_the_last_digit(decay):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [60, 120, 160], decay)
    ours = StepSchedule(0.1, (60, 120, 160), decay)
    for epochs_done in range(200):
        assert ours(epochs_done) == optimizer.param_groups[0]["lr"]
        optimizer.step()
        theirs.step()


def rates_of(schedule, batches, epochs):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=1.0))
    CrossEntropy().attach(student)
    schedule.attach(student)
    rates = []
    student.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: rates.append(engine.optimizer.param_groups[0]["lr"])
    )
    student.run([(torch.zeros(2, 4), torch.tensor([0, 1]))] * batches, max_epochs=epochs)
    return rates


def test_the_epoch_after_a_milestone_is_the_first_with_the_lower_rate():
    assert rates_of(StepSchedule(0.5, (2,), 0.1), batches=1, epochs=4) == [0.5, 0.5, 0.05, 0.05]


def test_one_cycle_rises_and_falls_along_straight_lines_step_by_step():
    rates = rates_of(OneCycle(0.4, epochs=5, rise=0.3), batches=4, epochs=5)
    middles = np.arange(20) + 0.5
    np.testing.assert_allclose(rates, np.interp(middles, [0, 6, 20], [0, 0.4, 0]), atol=1e-12)


def test_a_group_with_a_rate_of_its_own_learns_so_many_times_as_fast():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    other = torch.nn.Parameter(torch.zeros(1))
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=1.0))
    student.optimizer.add_param_group({"params": [other], "rate": 0.25})
    CrossEntropy().attach(student)
    StepSchedule(0.5, (1,), 0.1).attach(student)
    student.run([(torch.zeros(2, 4), torch.tensor([0, 1]))], max_epochs=2)
    assert [group["lr"] for group in student.optimizer.param_groups] == [0.05, 0.0125]


@pytest.mark.parametrize(("epochs", "decades"), [(150, 1.0), (7, 2.0), (1, 1.0), (5, 0.0)])
def test_the_logarithmic_rate_is_numpys_log_space(epochs, decades):
    ours = LogSpace(0.03, epochs, decades)
    theirs = np.logspace(np.log10(0.03), np.log10(0.03) - decades, epochs)
    assert [ours(done) for done in range(epochs)] == pytest.approx(theirs.tolist(), rel=1e-12)


def on_a_plateau(losses, plateau_of, state=None):
    """The rates of epochs that end with these validation losses, and the plateau."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=1.0))
    CrossEntropy().attach(student)
    plateau = plateau_of(student)
    if state is not None:
        plateau.load_state_dict(state[0])
        student.optimizer.load_state_dict(state[1])
    given, rates = iter(losses), []
    student.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update({"validation/loss": next(given)})
    )
    plateau.attach(student)
    student.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: rates.append(engine.optimizer.param_groups[0]["lr"])
    )
    student.run([(torch.zeros(2, 4), torch.tensor([0, 1]))], max_epochs=len(losses))
    return rates, (plateau.state_dict(), student.optimizer.state_dict())


def test_the_rate_falls_after_more_epochs_without_a_lower_loss_than_patience_and_goes_on_from_its_state():
    plateau_of = lambda student: Plateau(student, factor=0.3, patience=2)  # noqa: E731
    losses = [5.0, 4.0, 4.0, 4.5, 4.1, 4.2, 3.0, 3.1, 3.1, 3.1]
    rates, _ = on_a_plateau(losses, plateau_of)
    assert rates == pytest.approx([1, 1, 1, 1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.09])
    first, state = on_a_plateau(losses[:4], plateau_of)
    rest, _ = on_a_plateau(losses[4:], plateau_of, state)
    assert first + rest == rates
