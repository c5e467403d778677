import pytest
import torch
from ignite.engine import Events

from ignite_kd import StudentEngine
from ignite_kd.handlers import ClipGradients
from ignite_kd.heads import CrossEntropy


def step(limit=None):
    """How far one step of plain descent moves each weight: its gradient, at a rate of 1."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).double()
    before = [p.detach().clone() for p in model.parameters()]
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=1.0))
    CrossEntropy().attach(student, factor=50.0)
    if limit is not None:
        ClipGradients(limit).attach(student)
    student.run([(torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2]))], max_epochs=1)
    return torch.cat([(b - p.detach()).flatten() for b, p in zip(before, model.parameters(), strict=True)])


def test_a_long_gradient_keeps_its_direction_and_gets_the_norm():
    free, clipped = step(), step(2.0)
    norm = free.square().sum().sqrt().item()
    assert norm > 5
    torch.testing.assert_close(clipped, free * (2.0 / norm), rtol=1e-6, atol=0)


def test_a_short_gradient_stays():
    assert torch.equal(step(1e6), step())


@pytest.mark.parametrize("recipe", ["vid,gradient_norm=0.5,batch_size=8,validation_images=10"])
def test_a_recipe_asks_for_it(recipe, tmp_path, monkeypatch):
    from ignite_kd import recipes
    from ignite_kd.plan import Plan, Term
    from ignite_kd.session import Session

    monkeypatch.chdir(tmp_path)
    plan = Plan(
        student="mlp_8",
        recipe=recipes.get(recipe),
        dataset="shapes",
        terms=(Term("ce"),),
        max_epochs=1,
        samples_per_class=4,
    )
    session = Session(plan)
    norms = []
    session.student.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: norms.append(torch.cat([p.grad.flatten() for p in engine.model.parameters()]).norm().item()),
    )
    session.run()
    session.close()
    assert norms and max(norms) <= 0.5 + 1e-5
