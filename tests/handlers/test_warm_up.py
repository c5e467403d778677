import pytest
import torch
from ignite.engine import Events

from ignite_kd.engines import StudentEngine
from ignite_kd.errors import UserError
from ignite_kd.handlers import WarmUp
from ignite_kd.heads import CrossEntropy
from ignite_kd.models import MLP

LOADER = [(torch.zeros(4, 3, 4, 4), torch.tensor([0, 1, 0, 1]))] * 2


def factors_of(epochs, run=4, factor=3.0, **options):
    """The factor in each epoch of a run."""
    model = MLP(4, 1, 2, image_size=4)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.0))
    CrossEntropy().attach(student, factor=factor)
    WarmUp("ce", epochs, **options).attach(student)
    seen = []
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(student.factors["ce"]))
    student.run(LOADER, max_epochs=run)
    assert seen[::2] == seen[1::2]
    return seen[::2]


def test_the_factor_grows_by_the_same_each_epoch_up_to_what_was_attached():
    assert factors_of(3) == pytest.approx([1.0, 2.0, 3.0, 3.0])


def test_counted_from_nought_the_first_epoch_distils_nothing():
    assert factors_of(3, first=0) == pytest.approx([0.0, 1.0, 2.0, 3.0])


def test_a_twentieth_in_the_first_of_twenty_epochs_as_mdistiller_counts():
    assert factors_of(20, run=1, factor=1.0) == [0.05]


def test_a_resumed_run_takes_the_factor_of_its_epoch():
    model = MLP(4, 1, 2, image_size=4)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.0))
    CrossEntropy().attach(student, factor=1.0)
    WarmUp("ce", 10).attach(student)
    student.load_state_dict({"iteration": 10, "epoch_length": 2, "max_epochs": 6})
    seen = []
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(student.factors["ce"]))
    student.run(LOADER, max_epochs=6)
    assert seen == [0.6, 0.6]


def test_a_warm_up_of_no_epoch_is_refused():
    with pytest.raises(UserError, match="1 epoch or more, not 0"):
        WarmUp("ce", 0)
