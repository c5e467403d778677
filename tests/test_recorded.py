"""Recorded steps do what plain steps do. On a CPU a stand-in for a CUDA graph does its work again at each play."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from test_no_sync import EVERY, SAME_WIDTH, SETTINGS

from ignite_kd import heads
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.handlers import ClipGradients, SeedSteps, StepSchedule, WarmUp
from ignite_kd.models import WideResNet
from ignite_kd.recorded import CudaGraph, FixedPlaces, record_student, record_teacher
from ignite_kd.representation import Batch, Representation
from ignite_kd.together import run_together

GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))
IMAGES, BATCH = 40, 6  # an epoch of six whole batches and one of four
ASKS_THE_HOST = ("kdsvd",)  # cuSOLVER


def tensors(result):
    """Every tensor in what a step or a network gives."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, Representation):
        result = [result.logits, result.features, result.before_relu, result.pooled]
    elif hasattr(result, "values"):
        result = list(result.values())
    return [tensor for part in result if part is not None for tensor in tensors(part)]


class Again:
    """Keeps its first result and fills it anew at each play, as a CUDA graph does."""

    def __init__(self, function):
        self.function, self.result, self.plays = function, None, 0

    def play(self):
        self.plays += 1
        fresh = self.function()
        if self.result is None:
            self.result = fresh
        for place, new in zip(tensors(self.result), tensors(fresh), strict=True):
            place.detach().copy_(new.detach())
        return self.result


class Recorder:
    """What makes recordings, and remembers them."""

    def __init__(self, device):
        self.kind, self.made = CudaGraph if device == "cuda" else Again, []

    def __call__(self, function):
        self.made.append(self.kind(function))
        return self.made[-1]


def student_with(name, options, device, places=None, teacher=None, seed=0):
    torch.manual_seed(seed)
    model = WideResNet(10, 1, 5)
    trained = WideResNet(16, 1, 5) if name in SAME_WIDTH else WideResNet(10, 2, 5)
    head = heads.build(name, student=model, teacher=trained, **SETTINGS.get(name, {}) | options)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True), device)
    if places is not None:
        places.attach(student)
    SeedSteps(0).attach(student)
    (teacher or TeacherEngine(trained, device)).attach(student)
    head.attach(student, factor=0.5)
    if name != "ce":
        heads.CrossEntropy().attach(student)
    ClipGradients(1.0).attach(student)
    return student


def batches(device):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, 3, 16, 16, generator=generator).to(device)
    labels, indices = torch.arange(IMAGES, device=device) % 5, torch.arange(IMAGES, device=device)
    return [Batch(*parts) for parts in zip(images.split(BATCH), labels.split(BATCH), indices.split(BATCH), strict=True)]


def watched(student):
    seen = []
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(student.state.output["losses"]))
    return seen


def assert_same(one, other, seen, expected):
    for found, wanted in zip(seen, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    torch.testing.assert_close(one.model.state_dict(), other.model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize(("name", "options"), EVERY)
def test_a_recorded_training_is_the_plain_one_to_the_bit(name, options, device):
    places, recorder = FixedPlaces(BATCH), Recorder(device)
    plain, student = student_with(name, options, device), student_with(name, options, device, places)
    for each in (plain, student):
        WarmUp(name, 2).attach(each)
        StepSchedule(0.01, (3,), 0.1).attach(each)
    record_teacher(student.teacher, places, recorder)
    record_student(student, places, recorder)
    expected, seen = watched(plain), watched(student)
    plain.run(batches(device), max_epochs=4)
    student.run(batches(device), max_epochs=4)
    assert_same(student, plain, seen, expected)
    if device == "cuda" and name in ASKS_THE_HOST:
        return
    # the teacher once; the student in the first epoch, with the whole factor, and with the lower rate
    remembers = any(head.remembers for head in student.heads.values())
    assert len(recorder.made) == (1 if remembers else 3)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_classmates_share_the_recorded_teacher(device):
    places, recorder = FixedPlaces(BATCH), Recorder(device)
    alone = [student_with("vid", {}, device, seed=seed) for seed in (0, 1)]
    for each in alone[1:]:
        each.teacher.model.load_state_dict(alone[0].teacher.model.state_dict())
    teacher = TeacherEngine(alone[0].teacher.model, device)
    together = [student_with("vid", {}, device, places, teacher, seed) for seed in (0, 1)]
    record_teacher(teacher, places, recorder)
    for each in together:
        record_student(each, places, recorder)
    expected, seen = [watched(each) for each in alone], [watched(each) for each in together]
    for each in alone:
        each.run(batches(device), max_epochs=2)
    run_together(together, batches(device), max_epochs=2)
    for one, other, found, wanted in zip(together, alone, seen, expected, strict=True):
        assert_same(one, other, found, wanted)
    assert len(recorder.made) == 3
    if device == "cpu":
        assert recorder.made[0].plays == 2 * 6 - 3  # once a whole batch for both


def refuse(function):
    raise RuntimeError("operation not permitted\nwhen recording")


def test_what_cannot_be_recorded_runs_as_it_is_with_a_warning():
    places = FixedPlaces(BATCH)
    plain, student = student_with("vid", {}, "cpu"), student_with("vid", {}, "cpu", places)
    record_teacher(student.teacher, places, Again)
    record_student(student, places, refuse)
    with pytest.warns(UserWarning, match="cannot be recorded and runs as it is: operation not permitted$"):
        student.run(batches("cpu"), max_epochs=2)
    plain.run(batches("cpu"), max_epochs=2)
    assert_same(student, plain, [], [])


def test_a_teacher_that_cannot_be_recorded_keeps_its_students_from_being():
    places, recorder = FixedPlaces(BATCH), Recorder("cpu")
    plain, student = student_with("kd", {}, "cpu"), student_with("kd", {}, "cpu", places)
    record_teacher(student.teacher, places, refuse)
    record_student(student, places, recorder)
    with pytest.warns(UserWarning, match="cannot be recorded"):
        student.run(batches("cpu"), max_epochs=2)
    plain.run(batches("cpu"), max_epochs=2)
    assert_same(student, plain, [], [])
    assert not recorder.made


def test_a_student_without_a_teacher_is_recorded_too():
    def alone(places=None):
        torch.manual_seed(0)
        model = WideResNet(10, 1, 5)
        student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))
        if places is not None:
            places.attach(student)
        heads.CrossEntropy().attach(student)
        return student

    places, recorder = FixedPlaces(BATCH), Recorder("cpu")
    plain, student = alone(), alone(places)
    record_student(student, places, recorder)
    plain.run(batches("cpu"), max_epochs=2)
    student.run(batches("cpu"), max_epochs=2)
    assert_same(student, plain, [], [])
    assert [tape.plays for tape in recorder.made] == [2 * 6 - 3]
