"""Two processes against one: every head, with and without batch norms, in shares that are not equal."""

import copy

import ignite.distributed as idist
import pytest
import torch
from torch import nn

from ignite_kd import StudentEngine, TeacherEngine, heads
from ignite_kd.distributed import agree, gather, share_sizes
from ignite_kd.handlers import AverageGradients, EpochMeans, SeedSteps
from ignite_kd.launch import free_port
from ignite_kd.models import WideResNet
from ignite_kd.representation import Batch

CLASSES, SIZES = 3, (7, 7, 5)  # over two processes 4 + 3, 4 + 3 and 3 + 2
SAME_WIDTH = ("fsp", "kdsvd", "imitation")
MODES = ("frozen", "training")


class Frozen(WideResNet):
    """Its batch norms use their running statistics."""

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self


class GatheringFitNet(heads.FitNet):
    """A head with batch norms that couples images otherwise, too, as far as anybody knows."""

    only_norms_couple = False


def batches():
    generator = torch.Generator().manual_seed(2)
    found = []
    for i, size in enumerate(SIZES):
        images = torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64)
        found.append(Batch(images, torch.arange(size) % CLASSES, 3 * torch.arange(size) + i))
    return found


def shares(rank, processes):
    return [Batch(*(part.tensor_split(processes)[rank] for part in batch)) for batch in batches()]


def build(name, student, teacher):
    options = {"labels": torch.arange(30) % CLASSES, "negatives": 6} if name in ("crd", "wcord") else {}
    if name == "gathering":
        return GatheringFitNet.for_models(student, teacher, image_size=8)
    if "image_size" in heads.options(name):
        options["image_size"] = 8
    return heads.build(name, student=student, teacher=teacher, **options)


def train(name, mode, rank=0, processes=1):
    """Weights of model and head, and the epoch's means, after a step with each batch."""
    torch.manual_seed(0)
    teacher = WideResNet(*((10, 1) if name in SAME_WIDTH else (10, 2)), CLASSES).double()
    model = (Frozen if mode == "frozen" else WideResNet)(10, 1, CLASSES).double()
    if mode == "frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    TeacherEngine(teacher, batch_statistics=mode == "training").attach(student)
    SeedSteps(3, rank).attach(student)
    head = build(name, model, teacher).double()
    head.attach(student, factor=0.1)
    if name != "ce":
        heads.CrossEntropy().attach(student)
    AverageGradients().attach(student)
    EpochMeans().attach(student)
    student.run(shares(rank, processes), max_epochs=1)
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    state |= {f"head.{key}": value for key, value in head.state_dict().items()}
    return {"state": copy.deepcopy(state), "means": dict(student.state.metrics)}


NAMES = [*heads.names(), "gathering"]


def several(local_rank, folder):
    rank, processes = idist.get_rank(), idist.get_world_size()
    torch.set_num_threads(1)
    found = {f"{name} {mode}": train(name, mode, rank, processes) for name in NAMES for mode in MODES}
    found["agree"] = agree(rank, -rank)
    found["sizes"] = share_sizes(5 - rank)
    torch.save(found | {"gather": gathered(rank)}, folder / f"{rank}.pt")


def gathered(rank):
    """For each number format: what comes of own rows, and the gradient of a loss that weighs all rows."""
    found = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        own = torch.arange(6, dtype=dtype).view(3, 2)[: 3 - rank].add(10 * rank).requires_grad_()
        rows = gather(own, [3, 2], 3 - rank)
        (rows * torch.arange(1, 11, dtype=dtype).view(5, 2) * (rank + 1)).sum().backward()
        found[str(dtype)] = rows.detach(), own.grad
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    with idist.Parallel(backend="gloo", nproc_per_node=2, master_addr="127.0.0.1", master_port=free_port()) as parallel:
        parallel.run(several, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_have_the_losses_and_weights_of_one(name, mode, two):
    torch.set_num_threads(1)
    alone = train(name, mode)
    for rank in range(2):
        found = two[rank][f"{name} {mode}"]
        assert found["means"].keys() == alone["means"].keys()
        for key, value in alone["means"].items():
            assert found["means"][key] == pytest.approx(value, rel=1e-10), key
        for key, tensor in alone["state"].items():
            torch.testing.assert_close(found["state"][key], tensor, rtol=1e-10, atol=1e-12, msg=lambda m, k=key: k + m)


def test_rows_come_in_the_order_of_ranks_and_gradients_go_back_weighted(two):
    expected = torch.tensor([[0.0, 1], [2, 3], [4, 5], [10, 11], [12, 13]])
    slopes = torch.arange(1.0, 11).view(5, 2)
    # process q has q + 1 times the slopes as gradient and counts by its 3 or 2 of the rows
    total = slopes * (3 * 1 + 2 * 2)
    for rank, own in enumerate((total[:3] / 3, total[3:] / 2)):
        for rows, gradient in two[rank]["gather"].values():
            torch.testing.assert_close(rows.float(), expected)
            torch.testing.assert_close(
                gradient.float(), own, rtol=1e-2 if rows.dtype is torch.bfloat16 else 1e-6, atol=0
            )


def test_hosts_agree_on_the_largest_and_know_the_sizes_of_all_shares(two):
    for found in two:
        assert found["agree"] == [1.0, 0.0] and found["sizes"] == [5, 4]


def test_a_single_process_talks_to_nobody():
    rows = torch.ones(2, 3)
    assert gather(rows, share_sizes(2), 2) is rows and agree(3, 0.5) == [3, 0.5]
