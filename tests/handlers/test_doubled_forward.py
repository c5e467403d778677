import torch
from torch import nn
from torch.optim import SGD

from ignite_kd import StudentEngine
from ignite_kd.handlers import DoubledForward
from ignite_kd.heads import CrossEntropy

IMAGES = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()


def run(*handlers):
    torch.manual_seed(1)
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2)).double()
    student = StudentEngine(model, SGD(model.parameters(), lr=0.1))
    for handler in handlers:
        handler.attach(student)
    CrossEntropy().attach(student)
    student.run([(IMAGES, torch.tensor([0, 1] * 3))], max_epochs=1)
    return model


def test_running_statistics_move_twice_and_weights_as_without_it():
    once, twice = run(), run(DoubledForward())
    mean = IMAGES.mean(0)
    torch.testing.assert_close(once[0].running_mean, 0.1 * mean)
    torch.testing.assert_close(twice[0].running_mean, (0.1 + 0.9 * 0.1) * mean)
    assert torch.equal(once[1].weight, twice[1].weight)
