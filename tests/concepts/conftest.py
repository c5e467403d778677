import pytest
import torch
from worked_examples import worked_foreground, worked_maps

from ignite_kd import recipes
from ignite_kd.concepts import metrics
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.terms import Term


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A training of three epochs that kept 0, 1 and 3."""
    plan = Plan(
        student="mlp_8",
        recipe=recipes.get("vid,batch_size=50,validation_images=100,learning_rate=0.01"),
        dataset="shapes",
        samples_per_class=10,
        max_epochs=3,
        keep_epochs=(0, 1, 3),
        terms=(Term("ce"),),
        device="cpu",
        output_dir=str(tmp_path_factory.mktemp("history") / "run"),
    )
    session = Session(plan)
    assert session.run() == 0
    session.close()
    return session.folder


@pytest.fixture
def maps():
    return worked_maps()


@pytest.fixture
def foreground():
    return worked_foreground()


@pytest.fixture
def distances():
    path = torch.tensor([0.1 / e + 0.05 for e in range(1, 11)], dtype=torch.float64)
    return metrics.distances_at(path, [0, 2, 5, 10])
