import os
import signal

import ignite.distributed as idist
import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Events
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.errors import RunFailed
from ignite_kd.handlers import AverageGradients, Checkpoints, EpochMeans, StopOnNonFinite, Stopping, evaluate
from ignite_kd.heads import CrossEntropy
from ignite_kd.launch import free_port

IMAGES = torch.randn(10, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(10) % 3
BATCHES = [range(0, 5), range(5, 10)]  # five images cannot be shared evenly by two


def new_student(seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(6, 3).double()
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    CrossEntropy().attach(student)
    AverageGradients().attach(student)
    return student


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


def agree_on_what_one_alone_saw(local_rank, folder):
    rank = idist.get_rank()
    found = {"evaluation": evaluate(new_student().model, shares(rank))}

    student, means, saved = new_student(), EpochMeans(), []
    means.attach(student)
    student.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: saved.append(means.state_dict()))
    student.run(shares(rank), max_epochs=1)
    found["means"] = saved[0]

    student = new_student()
    StopOnNonFinite(every=2).attach(student)  # looks right after the step whose loss one process alone finds bad
    spoiled = [(images + (torch.nan if rank == 1 and i == 1 else 0.0), labels)
               for i, (images, labels) in enumerate(shares(rank))]  # fmt: skip
    try:
        student.run([*spoiled, *shares(rank)], max_epochs=1)
    except RunFailed as error:
        found["failure"] = str(error)

    student, stopping = new_student(), Stopping()
    checkpoints = Checkpoints(folder / "checkpoints", student.to_save(), keep=100, seconds=0.0 if rank else 3600.0)
    checkpoints.attach(student)
    stopping.attach(student)
    if rank == 1:
        student.add_event_handler(Events.ITERATION_COMPLETED(once=33), lambda: os.kill(os.getpid(), signal.SIGTERM))
    with stopping:
        student.run(shares(rank) * 50, max_epochs=2)
    found["stop"] = [student.state.iteration, stopping.reason, stopping.status]
    found["files"] = [path.name[:14] for path in checkpoints.files()]
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def agreed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agreed")
    in_two_processes(agree_on_what_one_alone_saw, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def in_two_processes(function, folder):
    with idist.Parallel(backend="gloo", nproc_per_node=2, master_addr="127.0.0.1", master_port=free_port()) as parallel:
        parallel.run(function, folder)


def test_two_processes_take_the_steps_of_one_that_sees_the_whole_batch(tmp_path):
    in_two_processes(train, tmp_path)
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


def test_every_image_is_evaluated_once(agreed):
    logits = new_student().model(IMAGES)
    for found in agreed:
        assert found["evaluation"]["accuracy"] == (logits.argmax(1) == LABELS).double().mean().item()
        assert found["evaluation"]["loss"] == pytest.approx(
            F.cross_entropy(logits, LABELS).item(), rel=1e-6
        )  # in float32


def test_what_is_saved_of_an_epochs_means_is_of_all_processes(agreed):
    total = 5 * F.cross_entropy(new_student().model(IMAGES[:5]), LABELS[:5]).item()
    for found in agreed:
        means = found["means"]
        assert means["images"] == 5
        assert means["sums"][("loss", "loss.ce")].tolist() == pytest.approx([total, total], rel=1e-12)


def test_a_loss_that_is_bad_in_one_share_stops_all_with_one_line(agreed):
    assert agreed[0]["failure"] == agreed[1]["failure"]
    assert "the loss 'ce' was NaN or infinite at epoch 1, iteration 2" in agreed[0]["failure"]


def test_all_stop_after_the_same_step_and_save_where_one_finds_it_due(agreed):
    assert agreed[0]["stop"] == agreed[1]["stop"]
    iteration, reason, status = agreed[0]["stop"]
    assert 33 <= iteration <= 43 and (reason, status) == ("SIGTERM", 143)
    due = {f"step-{step:09d}" for step in (10, 20, 30, iteration)}  # every tenth step they ask each other
    assert due <= set(agreed[0]["files"]) and len(agreed[0]["files"]) <= 5
