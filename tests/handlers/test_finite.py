import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import DistillationEvents, StudentEngine
from ignite_kd.errors import RunFailed
from ignite_kd.handlers import Checkpoints, StopOnNonFinite, weights_are_finite
from ignite_kd.heads import CrossEntropy

LOADER = [(torch.linspace(-1, 1, 8).reshape(2, 4), torch.tensor([0, 1]))] * 4
NAN, INFINITY = float("nan"), float("inf")


def watched(every=50):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    finite = StopOnNonFinite(every)
    finite.attach(student)
    return student, finite


def bad_at(student, iteration, name="extra", value=NAN):
    """A term that is sound but for one step, and whose gradient never reaches the weights."""

    def add(student):
        student.add_loss(name, torch.tensor(value if student.state.iteration == iteration else 1.0))

    student.add_event_handler(DistillationEvents.LOSSES, add)


@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize(
    ("iteration", "every", "noticed"), [(5, 1, 5), (5, 3, 6), (6, 3, 6), (7, 3, 8), (1, 50, 4), (4, 50, 4), (5, 50, 8)]
)
def test_the_term_epoch_and_iteration_are_named_soon(iteration, every, noticed, value):
    student, _ = watched(every)
    bad_at(student, iteration, value=value)
    epoch = 1 if iteration <= 4 else 2
    words = f"the loss 'extra' was NaN or infinite at epoch {epoch}, iteration {iteration}; lower its factor"
    with pytest.raises(RunFailed, match=words):
        student.run(LOADER, max_epochs=3)
    assert student.state.iteration == noticed


def test_of_several_terms_the_one_that_began_is_named():
    student, _ = watched()
    bad_at(student, 3, "later")
    bad_at(student, 2, "first")
    bad_at(student, 4, "last")
    with pytest.raises(RunFailed, match=r"the loss 'first' was .* iteration 2"):
        student.run(LOADER, max_epochs=1)


def test_a_sound_run_is_left_alone():
    student, finite = watched(every=1)
    bad_at(student, None)
    student.run(LOADER, max_epochs=2)
    finite.check()
    assert student.state.iteration == 8


def test_without_a_student_there_is_nothing_to_check():
    StopOnNonFinite().check()
    with pytest.raises(RunFailed):  # while with one there is
        student, finite = watched()
        student.model[0].weight.data.fill_(NAN)
        finite.check()


def test_a_bad_loss_is_never_saved(tmp_path):
    student, finite = watched(every=1000)
    checkpoints = Checkpoints(tmp_path, student.to_save(), keep=100, seconds=0, check=finite.check)
    checkpoints.attach(student)
    bad_at(student, 6)
    with pytest.raises(RunFailed, match=r"'extra' .* epoch 2, iteration 6"):
        student.run(LOADER, max_epochs=3)
    assert [int(path.name[5:14]) for path in checkpoints.files()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda student: student.model[0].weight.data.fill_(NAN),
        lambda student: student.model[0].bias.data[0].fill_(INFINITY),
        lambda student: student.model[1].running_var.fill_(INFINITY),
    ],
    ids=["weight", "one number", "running statistics"],
)
def test_bad_weights_after_a_sound_loss_are_never_saved(tmp_path, spoil):
    student, finite = watched()
    student.add_event_handler(Events.ITERATION_COMPLETED(once=8), spoil)
    checkpoints = Checkpoints(tmp_path, student.to_save(), keep=100, check=finite.check)
    checkpoints.attach(student)
    with pytest.raises(RunFailed, match="weights of 'student' became NaN or infinite by epoch 2, iteration 8; lower"):
        student.run(LOADER, max_epochs=3)
    assert [int(path.name[5:14]) for path in checkpoints.files()] == [4]
    for path in checkpoints.files():
        assert all(t.isfinite().all() for t in torch.load(path, weights_only=True)["model"].values())


def test_the_weights_of_a_head_are_checked_too():
    student, finite = watched()
    head = nn.Linear(2, 2)
    student.add_head(head, "projector")
    finite.check()
    head.bias.data.fill_(NAN)
    with pytest.raises(RunFailed, match="the weights of 'projector' became NaN"):
        finite.check()


def test_counters_and_modules_without_numbers_are_finite():
    assert weights_are_finite(nn.ReLU())
    assert weights_are_finite(nn.BatchNorm1d(3))
    assert weights_are_finite(nn.ParameterList([torch.zeros(0), torch.ones(2)]))
    assert not weights_are_finite(nn.ParameterList([torch.zeros(0), torch.full((2,), INFINITY)]))
