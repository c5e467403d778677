"""Networks of different kinds teach each other: stage by stage through `tap`, or at their pooled vectors."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from ignite_kd import heads
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.events import DistillationEvents
from ignite_kd.heads import VID
from ignite_kd.models import MLP, WideResNet, tap
from ignite_kd.representation import Batch, Features, Representation

STAGES = ("layer1", "layer2", "layer3")


def a_batch():
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.randn(4, 3, 32, 32, generator=generator), torch.tensor([0, 1, 2, 3]))


def resnet18():
    """torchvision's, with the stem for small images that is usual: stride 1, no pooling."""
    torch.manual_seed(1)
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


class OwnCNN(nn.Module):
    """Somebody's own network that speaks: a stage, a pooled vector, nothing of this package but the result's type."""

    channels = {"block": 6, "pooled": 6}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 6, 5, stride=2), nn.BatchNorm2d(6), nn.ReLU())
        self.fc = nn.Linear(6, 10)

    def represent(self, images):
        maps = self.block(images)
        pooled = maps.mean((2, 3))
        return Representation(self.fc(pooled), Features({"block": maps}), pooled=pooled)


def teach(student_model, teacher_model, head, steps=10):
    """The values of the head's term while the student learns one fixed batch."""
    teacher = TeacherEngine(teacher_model)
    before = {key: value.clone() for key, value in teacher_model.state_dict().items()}
    student = StudentEngine(student_model, torch.optim.SGD(student_model.parameters(), lr=0.1))
    teacher.attach(student)
    head.attach(student)
    values = []
    student.add_event_handler(
        DistillationEvents.LOSSES, lambda: values.append(student.state.losses[head.name].detach().clone())
    )
    branches = [p.detach().clone() for p in head.parameters()]
    student.run([a_batch()], max_epochs=steps)
    after = teacher_model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(p.grad is None for p in teacher_model.parameters())
    assert not any(torch.equal(p, old) for p, old in zip(head.parameters(), branches, strict=True))
    assert len(values) == steps
    return [value.item() for value in values]


@pytest.mark.parametrize("variant", ["paper", "benchmark"])
def test_torchvisions_resnet18_teaches_a_wide_resnet_stage_by_stage(variant):
    torch.manual_seed(2)
    student_model, teacher_model = WideResNet(10, 1), tap(resnet18(), STAGES)
    head = heads.build("vid", student=student_model, teacher=teacher_model, variant=variant)
    assert head.pairs == [(stage, stage) for stage in STAGES]
    assert [len(rho) for rho in head.variances] == [64, 128, 256]
    images = a_batch().images
    with torch.no_grad():
        maps = [model.eval().represent(images).features for model in (student_model, teacher_model)]
    assert [tuple(maps[0][stage].shape[1:]) for stage in STAGES] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert [tuple(maps[1][stage].shape[1:]) for stage in STAGES] == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]
    values = teach(student_model, teacher_model, head)
    assert all(later < earlier for earlier, later in pairwise(values))


def test_a_tapped_network_teaches_what_its_modules_give():
    model = resnet18()
    teacher = TeacherEngine(tap(model, STAGES))
    given = {}
    for stage in STAGES:
        model.get_submodule(stage).register_forward_hook(lambda _, __, out, stage=stage: given.update({stage: out}))
    seen = teacher.represent(a_batch().images)
    with torch.no_grad():
        logits = model(a_batch().images)
    assert all(torch.equal(seen.features[stage], given[stage]) for stage in STAGES)
    assert torch.equal(seen.logits, logits)


def test_a_wide_resnet_teaches_a_tapped_resnet18():
    torch.manual_seed(2)
    teacher_model, student_model = WideResNet(10, 2), tap(resnet18(), ["layer2", "layer3"])
    head = VID.for_models(student_model, teacher_model)
    assert head.pairs == [("layer2", "layer2"), ("layer3", "layer3")]
    values = teach(student_model, teacher_model, head, steps=4)
    assert all(later < earlier for earlier, later in pairwise(values))


def test_a_map_learns_from_a_map_of_another_size():
    torch.manual_seed(2)
    student_model, teacher_model = OwnCNN(), tap(resnet18(), STAGES)  # 14 × 14 learns from 16 × 16
    head = VID.for_models(student_model, teacher_model, stages="block:layer2")
    values = teach(student_model, teacher_model, head)
    assert all(later < earlier for earlier, later in pairwise(values))


@pytest.mark.parametrize("build", [lambda: WideResNet(10, 1), OwnCNN, lambda: tap(resnet18(), ["layer4"])])
def test_a_cnn_teaches_a_perceptron_at_the_pooled_vectors(build):
    torch.manual_seed(3)
    student_model, teacher_model = MLP(32, hidden=2), build()
    head = VID.for_models(student_model, teacher_model)
    assert head.pairs == [("pooled", "pooled")]
    width = teacher_model.channels["pooled"]
    assert [tuple(p.shape) for p in head.branches.parameters()] == [(width, 32, 1, 1), (width, width, 1, 1)]
    values = teach(student_model, teacher_model, head)
    assert all(later < earlier for earlier, later in pairwise(values))


def test_a_perceptron_teaches_a_cnn_its_hidden_vectors():
    torch.manual_seed(3)
    student_model, teacher_model = WideResNet(10, 1), MLP(32, hidden=2)
    head = VID.for_models(student_model, teacher_model, stages="layer2:hidden1+pooled:hidden2")
    values = teach(student_model, teacher_model, head)
    assert all(later < earlier for earlier, later in pairwise(values))


@pytest.mark.parametrize("name", ["ce", "kd"])
def test_a_plain_module_that_gives_only_logits_teaches_and_learns(name):
    torch.manual_seed(4)
    student_model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    teacher_model = resnet18()
    student = StudentEngine(student_model, torch.optim.SGD(student_model.parameters(), lr=1e-3))
    TeacherEngine(teacher_model).attach(student)
    heads.build(name, student=student_model, teacher=teacher_model).attach(student)
    values = []
    student.add_event_handler(
        DistillationEvents.LOSSES, lambda: values.append(student.state.losses[name].detach().clone())
    )
    student.run([a_batch()], max_epochs=5)
    assert all(later < earlier for earlier, later in pairwise(values))
