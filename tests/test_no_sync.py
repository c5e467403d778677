"""No step makes the host wait for a GPU: every head, and every handler that a session attaches."""

from __future__ import annotations

import io

import pytest
import torch
from ignite.engine import Events
from no_sync import NoSync, Synchronises

from ignite_kd import heads
from ignite_kd.data import Augmentation, Images, Stream
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.handlers import (
    Checkpoints,
    Console,
    EpochMeans,
    RunRecord,
    SeedSteps,
    StepSchedule,
    StopOnNonFinite,
    Stopping,
    WarmUp,
)
from ignite_kd.models import WideResNet

CLASSES, IMAGES, BATCH = 5, 40, 4
LABELS = torch.arange(IMAGES) % CLASSES
SETTINGS = {name: {"labels": LABELS, "negatives": 16} for name in ("crd", "wcord")}
SAME_WIDTH = ("fsp", "kdsvd", "imitation")

# What two steps of a method may nevertheless do.
ALLOWED: dict[str, dict[str, int]] = {
    # the singular vectors of three pairs of stages, of student and teacher, are what it compares; cuSOLVER waits
    "kdsvd": {"_linalg_eigh": 12},
    # looks whether indices are within its memory; those on a GPU are looked at there (`torch._assert_async`)
    "crd": {"_local_scalar_dense": 2},
    # that, and the largest singular values of two embeddings
    "wcord": {"_local_scalar_dense": 2, "_linalg_eigh": 4},
}
EVERY = [(name, {}) for name in heads.names()] + [
    ("vid", {"variant": "benchmark"}),
    ("ab", {"first_stage_only": False}),
    ("fsp", {"first_stage_only": False}),
    ("at", {"variant": "paper"}),
    ("cc", {"consecutive_rows": False}),
    ("kdsvd", {"variant": "mdistiller"}),
    ("crd", {"mode": "relax"}),
    ("crd", {"negatives": 64}),  # more than there are: drawn with replacement
]


def student_with(name: str, options: dict, folder, device: str = "cpu") -> tuple[StudentEngine, Stream]:
    """As a session builds it, with a loader of ten batches."""
    torch.manual_seed(0)
    model = WideResNet(10, 1, CLASSES)
    trained = WideResNet(16, 1, CLASSES) if name in SAME_WIDTH else WideResNet(10, 2, CLASSES)
    head = heads.build(name, student=model, teacher=trained, **SETTINGS.get(name, {}) | options)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True), device)
    SeedSteps(0).attach(student)
    TeacherEngine(trained, device).attach(student)
    head.attach(student, factor=0.5)
    if name != "ce":
        heads.CrossEntropy().attach(student)
    WarmUp(name, 3).attach(student)
    StepSchedule(0.01, (1,), 0.1).attach(student)
    means, finite = EpochMeans(), StopOnNonFinite()
    means.attach(student)
    finite.attach(student)
    RunRecord(folder).attach(student)
    Console(io.StringIO()).attach(student)
    Checkpoints(folder, student.to_save() | {"means": means}, check=finite.check).attach(student)
    Stopping(time_limit=1000).attach(student)
    images = torch.randint(0, 256, (IMAGES, 3, 16, 16), dtype=torch.uint8)
    how = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "augmentation": Augmentation(), "shuffle": True}
    return student, Stream(Images(images, LABELS), BATCH, device=device, **how)


def run_two_steps(student: StudentEngine, loader: Stream, mode) -> None:
    """Ten steps, of which the fifth and the sixth, loading included, are under the mode."""
    student.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda: mode.__enter__())
    student.add_event_handler(Events.ITERATION_COMPLETED(once=6), lambda: mode.__exit__(None, None, None))
    try:
        student.run(loader, max_epochs=1)
    except Synchronises:
        mode.__exit__(None, None, None)
        raise


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_two_steps_of_every_method_do_not_make_the_host_wait(name, options, tmp_path):
    mode = NoSync(ALLOWED.get(name))
    run_two_steps(*student_with(name, options, tmp_path), mode)
    assert not +mode.left  # what is not needed any more shall not stay allowed


class ErrorOnSync:
    """torch's own alarm, which sees what a GPU really does."""

    def __enter__(self) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("name", "options"), [one for one in EVERY if "_linalg_eigh" not in ALLOWED.get(one[0], {})])
def test_two_steps_of_every_method_make_no_host_wait_for_a_gpu(name, options, tmp_path):
    run_two_steps(*student_with(name, options, tmp_path, "cuda"), ErrorOnSync())


X = torch.arange(6.0)
WAITING = {
    "item": lambda: X[0].item(),
    "float": lambda: float(X.sum()),
    "bool": lambda: bool(X[0] > 0),
    "tolist": lambda: [float(x) for x in X],
    "equal": lambda: torch.equal(X, X),
    "allclose": lambda: torch.allclose(X, X),
    "nonzero": lambda: X.nonzero(),
    "where": lambda: torch.where(X > 2),
    "masked_select": lambda: X.masked_select(X > 2),
    "mask": lambda: X[X > 2],
    "mask written": lambda: X.clone().index_put_((X > 2,), torch.ones(3)),
    "unique": lambda: X.unique(),
    "one_hot": lambda: torch.nn.functional.one_hot(X.long()),
    "repeat_interleave": lambda: X.repeat_interleave(X.long()),
    "eigh": lambda: torch.linalg.eigh(torch.eye(2)),
    "svd": lambda: torch.linalg.svd(torch.eye(2)),
    "tensor": lambda: torch.tensor([1.0, 2.0]),
    "to the host": lambda: torch.empty(2, device="meta").to("cpu"),
    "copied to the host": lambda: X.clone().copy_(torch.empty(6, device="meta")),
    "in a backward pass": lambda: Looking.apply(X.clone().requires_grad_()).sum().backward(),
}


class Looking(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float(gradient[0])


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_found(name):
    with pytest.raises(Synchronises, match="the host would wait"), NoSync():
        WAITING[name]()


def test_what_does_not_wait_is_let_through():
    with NoSync():
        kept = torch.where(X > 2, X, 0.0).masked_fill(X > 4, 1.0)[X.long()].sort().values
        assert kept.double().to("cpu").copy_(X).shape == (6,)
