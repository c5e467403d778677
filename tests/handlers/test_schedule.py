import numpy as np
import pytest
import torch
from ignite.engine import Events

from ignite_kd import StudentEngine
from ignite_kd.handlers import OneCycle, StepSchedule
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
