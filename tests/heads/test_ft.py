import copy
import math

import pytest
import torch
from ignite.engine import Events
from oracles import fill, h
from stage_sets import channels, measured, norm, seen

from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.heads import FT
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Batch, Features, Representation

BATCH = Batch(torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(4))


def filled(head):
    fill(head.paraphraser, 300)
    fill(head.translator, 900)
    return head


@pytest.mark.parametrize(
    ("student", "p", "loss", "grad", "aux"),
    [
        ("S", 1, 0.08740844914, 0.02981918875, 0.2738841108),
        ("S", 2, 0.01274583894, 0.00748763751, 0.06763404315),
        ("B", 1, 0.09524511894, 0.1095403977, 1.209722334),
    ],
)
def test_it_has_the_golden_value_of_methods_7_6(student, p, loss, grad, aux):
    head = filled(FT(channels(student), channels("T"), p=p))
    assert (head.own, head.shown) == ("layer3", "layer3")
    found = measured(head, seen(student), seen("T"))
    assert found["loss"] == pytest.approx(loss, rel=2e-9)
    assert found["grad"] == pytest.approx([grad], rel=2e-9)
    assert found["aux"] == pytest.approx(aux, rel=2e-9)


def test_the_reconstruction_has_the_golden_value_of_methods_7_6():
    stage = filled(FT(channels("S"), channels("T"))).first_stage(WideResNet(10, 1))
    stage.learner.requires_grad_(True)
    loss = stage.term(stage.learner.represent(torch.zeros(8, 3, 16, 16)), seen("T"), None)
    loss.backward()
    assert loss.item() == pytest.approx(0.2241500285, rel=2e-9)
    assert norm(p.grad for p in stage.learner.parameters()) == pytest.approx(0.09587032526, rel=2e-9)


def unit_energy(image):
    """[c][position] → energies of unit length."""
    energies = [sum(x * x for x in column) / len(image) for column in zip(*image, strict=True)]
    length = math.sqrt(sum(e * e for e in energies))
    return [e / length for e in energies]


@pytest.mark.parametrize("p", [1, 2])
def test_it_is_the_mean_written_out(p):
    head = FT({"a": 3}, {"a": 4}, p=p).double()
    maps, hint = h((2, 3, 2, 3), 1), h((2, 4, 2, 3), 2)
    factors = [x.flatten(2).tolist() for x in (head.translator(maps), head.paraphraser.encoder(hint))]
    total = 0.0
    for own, shown in zip(*factors, strict=True):
        total += sum(abs(s - t) ** p for s, t in zip(unit_energy(own), unit_energy(shown), strict=True))
    student, teacher = (Representation(torch.zeros(2, 2), Features({"a": x})) for x in (maps, hint))
    assert head(student, teacher, None).item() == pytest.approx(total / 12, rel=1e-12)


def test_it_is_zero_for_factors_of_one_shape_whatever_their_size():
    head = FT({"a": 4}, {"a": 4}).double()
    hint = h((2, 4, 2, 3), 2)
    head.translator = copy.deepcopy(head.paraphraser.encoder)
    with torch.no_grad():  # the last layer is homogeneous but for its bias
        for parameter in head.translator[-2].parameters():
            parameter.mul_(2)
    student = teacher = Representation(torch.zeros(2, 2), Features({"a": hint}))
    assert head(student, teacher, None).item() == pytest.approx(0, abs=1e-15)


def test_a_dead_map_costs_no_infinite_gradient():
    head = FT({"a": 3}, {"a": 4})
    with torch.no_grad():
        for parameter in (*head.translator.parameters(), *head.paraphraser.parameters()):
            parameter.zero_()
    maps = torch.randn(2, 3, 2, 3).requires_grad_()
    student, teacher = (Representation(torch.zeros(2, 2), Features({"a": x})) for x in (maps, torch.zeros(2, 4, 2, 3)))
    loss = head(student, teacher, None)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad.isfinite().all() for p in head.translator.parameters())
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize(("rate", "factor"), [(0.5, 16), (0.3, 9), (1, 32)])
def test_the_factor_has_its_share_of_the_teachers_channels(rate, factor):
    head = FT({"a": 8}, {"a": 32}, factor_rate=rate)
    assert head.translator[-3].out_channels == head.paraphraser.encoder[-2].out_channels == factor
    assert [tuple(p.shape[:2]) for p in head.translator.parameters() if p.dim() == 4] == [
        (8, 8),
        (factor, 8),
        (factor, factor),
    ]


def first_stage(seed=0):
    torch.manual_seed(seed)
    model, teacher = WideResNet(10, 1), TeacherEngine(WideResNet(10, 2))
    head = FT.for_models(model, teacher.model)
    stage = head.first_stage(model)
    assert stage.frozen_otherwise and not any(p.requires_grad for p in stage.learner.parameters())
    stage.learner.requires_grad_(True)
    engine = StudentEngine(stage.learner, torch.optim.SGD(stage.learner.parameters(), lr=stage.learning_rate * 10))
    teacher.attach(engine)
    stage.term.attach(engine)
    return model, teacher, head, engine


def test_the_first_stage_trains_the_paraphraser_and_it_alone():
    model, _, head, engine = first_stage()
    before = copy.deepcopy([model.state_dict(), head.translator.state_dict(), head.paraphraser.state_dict()])
    losses = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(engine.state.output["loss"].item()))
    engine.run([BATCH] * 5, max_epochs=1)
    after = [model.state_dict(), head.translator.state_dict(), head.paraphraser.state_dict()]
    same = [[torch.equal(b[key], a[key]) for key in b] for b, a in zip(before, after, strict=True)]
    assert all(same[0]) and all(same[1]) and not any(same[2])
    assert losses[-1] < losses[0]


def test_the_first_stage_is_resumed_with_its_checkpoint():
    *_, engine = first_stage()
    *_, head, resumed = first_stage(seed=1)
    engine.run([BATCH], max_epochs=1)
    for name, saved in engine.to_save().items():
        resumed.to_save()[name].load_state_dict(copy.deepcopy(saved.state_dict()))
    expected = engine.model.paraphraser.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in head.paraphraser.state_dict().items())


def test_as_a_head_the_paraphraser_stands_still_but_is_saved_and_shared():
    model, teacher, head, engine = first_stage()
    engine.run([BATCH], max_epochs=1)
    before = copy.deepcopy(head.paraphraser.requires_grad_(False).state_dict())
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.1))
    engine.teacher = None
    teacher.attach(student)
    head.attach(student)
    held = {id(p) for group in student.optimizer.param_groups for p in group["params"]}
    assert not held & {id(p) for p in head.paraphraser.parameters()}
    assert {id(p) for p in head.translator.parameters()} <= held
    student.run([BATCH] * 2, max_epochs=1)
    assert all(torch.equal(value, before[key]) for key, value in head.paraphraser.state_dict().items())
    assert {f"paraphraser.{key}" for key in before} <= set(head.state_dict())


@pytest.mark.parametrize(
    ("name", "rate"), [("resnet8x4", 0.01), ("wrn_16_1", 0.01), ("vgg8", None), ("MobileNetV2", None), (None, None)]
)
def test_the_first_stages_learning_rate_depends_on_the_students_family(name, rate):
    model = torch.nn.Identity()
    if name:
        model.name = name
    stage = FT({"a": 3}, {"a": 4}).first_stage(model)
    assert stage.learning_rate == rate
    assert not stage.replaces_main


SINGLE = (
    "ft compares where in a map the energy is, but '{}' of the {} is a single pixel; "
    "choose stages=NAME of a map that both have, or a method for vectors such as rkd or crd."
)


@pytest.mark.parametrize(
    ("student", "teacher", "options", "message"),
    [
        (MLP(8, 1), WideResNet(10, 1), {}, SINGLE.format("hidden1", "student")),
        (WideResNet(10, 1), WideResNet(10, 1), {"stages": "pooled"}, SINGLE.format("pooled", "student")),
        (WideResNet(10, 1), WideResNet(10, 1), {"stages": "layer3:pooled"}, SINGLE.format("pooled", "teacher")),
        (
            WideResNet(10, 1),
            WideResNet(10, 1),
            {"stages": "layer2+layer3"},
            "ft transfers one stage, but 2 were given; choose one of them.",
        ),
        (WideResNet(10, 1), WideResNet(10, 1), {"p": 3}, "p of ft should be 1 or 2, but 3 was given."),
        *(
            (
                WideResNet(10, 1),
                WideResNet(10, 1),
                {"factor_rate": rate},
                f"factor_rate of ft should be above 0, at most 1, and leave a channel of 64, but {rate} was given "
                "(usual: 0.5 to 1).",
            )
            for rate in (0, 0.001, 2, math.nan)
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(student, teacher, options, message):
    with pytest.raises(UserError) as error:
        FT.for_models(student, teacher, **options)
    assert str(error.value) == message


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_map_of_one_pixel_is_refused_when_it_comes(who):
    maps = {"student": torch.zeros(2, 3, 2, 2), "teacher": torch.zeros(2, 4, 2, 2)}
    maps[who] = maps[who].mean((2, 3))
    student, teacher = (Representation(torch.zeros(2, 2), Features({"a": x})) for x in maps.values())
    with pytest.raises(UserError) as error:
        FT({"a": 3}, {"a": 4})(student, teacher, None)
    assert str(error.value) == SINGLE.format("a", who)
