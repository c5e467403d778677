import copy

import pytest
import torch
from torch import nn

from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.heads import AB
from ignite_kd.heads.feature_modules import FeatureModules
from ignite_kd.models import WideResNet
from ignite_kd.representation import Batch

BATCH = Batch(torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(4))


def test_it_says_what_the_student_says():
    model = WideResNet(10, 1)
    assert torch.equal(FeatureModules(model, "ab").eval().represent(BATCH.images).logits, model(BATCH.images))


def test_its_parameters_are_those_of_the_declared_children():
    model = WideResNet(10, 1)
    expected = {k: p for k, p in model.named_parameters() if not k.startswith(("bn1.", "fc."))}
    found = dict(FeatureModules(model, "ab").named_parameters())
    assert list(found) == list(expected)
    assert all(found[key] is expected[key] for key in expected)
    assert len(list(FeatureModules(model, "ab").parameters())) == len(expected)


@pytest.mark.parametrize("training", [True, False])
def test_only_the_declared_children_go_to_training_mode(training):
    model = WideResNet(10, 1).train()
    view = FeatureModules(model, "ab").train(training)
    assert view.training is training
    modes = {name: child.training for name, child in model.named_children()}
    assert modes == {name: training and name not in ("bn1", "fc") for name in modes}
    assert all(part.training is training for part in model.layer1.modules())


def test_its_state_is_the_whole_students():
    model, other = WideResNet(10, 1), WideResNet(10, 1)
    view, expected = FeatureModules(model, "ab"), other.state_dict()
    assert list(view.state_dict()) == list(expected)
    view.load_state_dict(copy.deepcopy(expected))
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def engine_over(model, teacher):
    torch.manual_seed(3)
    stage = AB.for_models(model, teacher.model).first_stage(model)
    engine = StudentEngine(stage.learner, torch.optim.SGD(stage.learner.parameters(), lr=0.05, momentum=0.9))
    teacher.attach(engine)
    stage.term.attach(engine)
    return engine


def test_training_it_moves_what_makes_features_and_nothing_else():
    torch.manual_seed(0)
    model, teacher = WideResNet(10, 1), TeacherEngine(WideResNet(10, 2))
    before = copy.deepcopy(model.state_dict())
    engine_over(model, teacher).run([BATCH] * 2, max_epochs=1)
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {key for key in before if not key.startswith(("bn1.", "fc."))}


def test_afterwards_the_student_trains_as_any_other():
    model, teacher = WideResNet(10, 1), TeacherEngine(WideResNet(10, 2))
    engine_over(model, teacher).run([BATCH], max_epochs=1)
    assert not model.fc.training
    model.train()
    assert all(part.training for part in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_two_epochs_are_one_and_one_from_its_checkpoint():
    torch.manual_seed(0)
    models = [WideResNet(10, 1) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    teacher = TeacherEngine(WideResNet(10, 2))
    whole, half = engine_over(copy.deepcopy(models[0]), teacher), engine_over(models[0], teacher)
    whole.run([BATCH] * 2, max_epochs=2)
    half.run([BATCH] * 2, max_epochs=1)
    resumed = engine_over(models[1], teacher)
    for name, saved in half.to_save().items():
        resumed.to_save()[name].load_state_dict(copy.deepcopy(saved.state_dict()))
    resumed.run([BATCH] * 2, max_epochs=2)
    for name in ("model", "head.ab"):
        found, expected = resumed.to_save()[name].state_dict(), whole.to_save()[name].state_dict()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("declared", [(), ("conv1", "layer9")])
def test_a_student_that_does_not_say_what_makes_its_features_is_refused_in_one_line(declared):
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    student.feature_modules = declared
    with pytest.raises(UserError) as error:
        FeatureModules(student, "ab")
    assert str(error.value) == (
        "ab trains the features of the student first, but Sequential does not declare which of its children make "
        "them; set its feature_modules = (name, …) out of 0, 1."
    )
