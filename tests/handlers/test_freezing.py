import pytest
import torch
from ignite.engine import Events
from torch import nn
from torch.optim import SGD

from ignite_kd import StudentEngine, models
from ignite_kd.errors import UserError
from ignite_kd.handlers import Freeze
from ignite_kd.heads import CrossEntropy

BATCHES = [(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))] * 2


class Small(nn.Module):
    """Two stages with a batch norm each."""

    name = "small"

    def __init__(self):
        super().__init__()
        self.lower = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten())
        self.upper = nn.Sequential(nn.Linear(4 * 30 * 30, 4), nn.BatchNorm1d(4))

    def forward(self, images):
        return self.upper(self.lower(images))

    def up_to(self, stage):
        return ["lower"]


def trained(norms, *, weight_decay=0.1):
    torch.manual_seed(0)
    model = Small()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    student = StudentEngine(model, SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=weight_decay))
    CrossEntropy().attach(student)
    handle = Freeze("lower", norms).attach(student)
    student.run(BATCHES, max_epochs=2)
    changed = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    return model, handle, changed


@pytest.mark.parametrize("norms", [True, False])
def test_the_lower_part_keeps_its_weights_and_with_norms_its_statistics(norms):
    _, _, changed = trained(norms)
    moved = {"lower.1.running_mean", "lower.1.running_var", "lower.1.num_batches_tracked"}
    upper = {"upper.0.weight", "upper.0.bias", "upper.1.weight", "upper.1.bias"}
    upper |= {"upper.1.running_mean", "upper.1.running_var", "upper.1.num_batches_tracked"}
    assert changed - {"upper.0.bias"} == (upper | (set() if norms else moved)) - {"upper.0.bias"}


def test_an_evaluation_within_the_epoch_does_not_thaw_its_norms():
    model = Small()
    student = StudentEngine(model, SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    Freeze("lower").attach(student)
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda: model.eval() and None)
    before = model.lower[1].running_mean.clone()
    student.run(BATCHES, max_epochs=2)
    assert torch.equal(model.lower[1].running_mean, before) and model.upper[1].num_batches_tracked == 4


def test_dropout_of_the_frozen_part_goes_on():
    model, _, _ = trained(True)
    assert model.lower[2].training and not model.lower[1].training and model.upper[1].training


def test_removing_it_lets_everything_learn_again():
    model, handle, _ = trained(True)
    assert not model.lower[0].weight.requires_grad
    handle.remove()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_model_that_does_not_say_what_makes_a_stage_is_refused():
    model = models.build("resnet8", 4)
    with pytest.raises(UserError, match="resnet8 does not say which modules make a stage"):
        Freeze("layer1").attach(StudentEngine(model, SGD(model.parameters(), lr=0.1)))
