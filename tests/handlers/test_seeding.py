import torch
from torch import nn

from ignite_kd import StudentEngine, run_together
from ignite_kd.handlers import SeedSteps
from ignite_kd.heads import CrossEntropy

LOADER = [(torch.linspace(-1, 1, 32).reshape(4, 8) * (i + 1), torch.tensor([0, 1, 0, 1])) for i in range(3)]


def student_with_dropout(seed=5):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 2))
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    SeedSteps(seed).attach(student)
    return student


def trained(student):
    return [p.detach().clone() for p in student.model.parameters()]


def test_dropout_does_not_depend_on_what_others_drew():
    alone, disturbed, beside = student_with_dropout(), student_with_dropout(), student_with_dropout()
    alone.run(LOADER, max_epochs=2)
    torch.rand(100)
    disturbed.run(LOADER, max_epochs=2)
    run_together([student_with_dropout(seed=9), beside], LOADER, max_epochs=2)
    for one, two, three in zip(trained(alone), trained(disturbed), trained(beside), strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)


def test_seeds_and_steps_draw_differently():
    one, other = student_with_dropout(seed=1), student_with_dropout(seed=2)
    one.run(LOADER, max_epochs=1)
    other.run(LOADER, max_epochs=1)
    assert not torch.equal(trained(one)[0], trained(other)[0])
