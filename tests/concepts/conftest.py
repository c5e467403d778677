import pytest
import torch

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
    """The arrays of `concepts.md`, section 7.4: three images, four checkpoints, a grid of four."""
    i, t, r, c = torch.meshgrid(torch.arange(3), torch.arange(4), torch.arange(4), torch.arange(4), indexing="ij")
    modulus = torch.tensor([2, 5, 8, 7])[t]
    return -2.7 - 0.11 * ((2 * i + 7 * t + 7 * r + 5 * c + r * c * (t + 1)) % modulus).double()


@pytest.fixture
def foreground():
    cells = torch.zeros(3, 4, 4, dtype=torch.bool)
    cells[0, 1:3, 1:3] = True
    cells[1, 0:2] = True
    cells[2, 3] = cells[2, :, 3] = True
    return cells


@pytest.fixture
def distances():
    path = torch.tensor([0.1 / e + 0.05 for e in range(1, 11)], dtype=torch.float64)
    return metrics.distances_at(path, [0, 2, 5, 10])
