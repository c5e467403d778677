"""Traces of the released VID code (golden/vid_released_code.json, from the inputs that golden/README.md defines)."""

import pytest
import torch
from ignite.engine import Events
from released_code import GOLDEN, STUDENT_SEED, batches, set_weights

from ignite_kd import recipes
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.heads import KD, VID, CrossEntropy
from ignite_kd.models import WideResNet

RECIPE = recipes.get("vid-released-code")


def sgd(model):
    return torch.optim.SGD(
        model.parameters(), lr=RECIPE.learning_rate, momentum=RECIPE.momentum, weight_decay=RECIPE.weight_decay
    )


def losses_of(student, trace):
    losses = []
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(student.state.output["loss"]))
    steps = len(trace["losses"])
    student.run(list(batches(trace["batch"], steps)), max_epochs=1)
    assert len(losses) == steps
    return torch.stack(losses).tolist()


@pytest.mark.parametrize("trace", GOLDEN["with_transfer"], ids=lambda trace: f"{trace['student_depth']}")
def test_a_student_with_transfer_learns_as_in_the_released_code(trace):
    teacher_model = WideResNet(trace["teacher_depth"], trace["teacher_width"]).double()
    model = WideResNet(trace["student_depth"], trace["student_width"])
    vid = VID.for_models(model, teacher_model, softplus_twice=RECIPE.softplus_twice)
    model.double(), vid.double()
    released = vid.released_layout(model.state_dict())  # its tensors are those of the modules
    set_weights(teacher_model.state_dict(), trace["seed"])
    set_weights(released, trace["seed"] + STUDENT_SEED)
    for i in (1, 2, 3):
        assert (released[f"variance_param{i}"] == trace["initial_variance_param"]).all()

    student = StudentEngine(model, sgd(model))
    teacher = TeacherEngine(teacher_model, batch_statistics=RECIPE.teacher_batch_statistics)
    teacher.attach(student)
    CrossEntropy().attach(student)
    KD(trace["temperature"]).attach(student, factor=trace["kd_factor"])
    vid.attach(student, factor=trace["vid_factor"])

    assert losses_of(student, trace) == pytest.approx(trace["losses"], rel=1e-9, abs=0)
    final = vid.released_layout(model.state_dict())
    for key, expected in trace["final"].items():
        assert final[key].sum().item() == pytest.approx(expected, rel=0, abs=1e-7), key
    moved = teacher_model.state_dict()
    for key, expected in trace["teacher_bn_after"].items():
        assert moved[key].sum().item() == pytest.approx(expected, rel=0, abs=1e-7), key


@pytest.mark.parametrize("trace", GOLDEN["without_transfer"], ids=lambda trace: f"{trace['depth']}")
def test_a_network_without_transfer_learns_as_in_the_released_code(trace):
    model = WideResNet(trace["depth"], trace["width"]).double()
    set_weights(model.state_dict(), trace["seed"])
    student = StudentEngine(model, sgd(model))
    CrossEntropy().attach(student)
    assert losses_of(student, trace) == pytest.approx(trace["losses"], rel=1e-9, abs=0)
