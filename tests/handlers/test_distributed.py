import ignite.distributed as idist
import torch
import torch.nn.functional as F
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.handlers import AverageGradients, EpochMeans
from ignite_kd.heads import CrossEntropy
from ignite_kd.launch import free_port

IMAGES = torch.randn(10, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(10) % 3
BATCHES = [range(0, 5), range(5, 10)]  # five images cannot be shared evenly by two


def shares(rank):
    return [(IMAGES[list(b)][cut], LABELS[list(b)][cut]) for b in BATCHES for cut in [(slice(0, 3), slice(3, 5))[rank]]]


def train(local_rank, folder):
    rank = idist.get_rank()
    torch.manual_seed(rank)  # the first process's weights are everybody's
    model = nn.Linear(6, 3).double()
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9))
    CrossEntropy().attach(student)
    AverageGradients().attach(student)
    EpochMeans().attach(student)
    student.run(shares(rank), max_epochs=2)
    torch.save({"model": model.state_dict(), "metrics": dict(student.state.metrics)}, folder / f"{rank}.pt")


def test_two_processes_take_the_steps_of_one_that_sees_the_whole_batch(tmp_path):
    with idist.Parallel(backend="gloo", nproc_per_node=2, master_addr="127.0.0.1", master_port=free_port()) as parallel:
        parallel.run(train, tmp_path)
    torch.manual_seed(0)
    model = nn.Linear(6, 3).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(2):
        total = 0.0
        for batch in BATCHES:
            loss = F.cross_entropy(model(IMAGES[list(batch)]), LABELS[list(batch)])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += 5 * loss.item()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(found["model"][name], tensor, rtol=1e-12, atol=1e-14)
        assert abs(found["metrics"]["train/loss"] - total / 10) < 1e-12
