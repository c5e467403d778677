import pytest
import torch
from ignite.engine import Events
from oracles import h
from stage_sets import channels, measured, seen

from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.heads import FSP
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Batch, Features, Representation


def test_it_has_the_golden_value_of_methods_7_5():
    head = FSP(channels("D"), channels("T"))
    assert head.pairs == [(stage, stage) for stage in ("stem", "layer1", "layer2", "layer3")]
    found = measured(head, seen("D"), seen("T"))
    grad = [4.571984959e-05, 8.380296928e-05, 0.0002270601682, 0.0002976476769]
    assert found["loss"] == pytest.approx(0.003967324939, rel=2e-9)
    assert found["grad"] == pytest.approx(grad, rel=2e-9)


@pytest.mark.parametrize(
    ("stages", "part"),
    [("stem+layer1", 0.0004102826381), ("layer1+layer2", 0.000738007135), ("layer2+layer3", 0.002819035166)],
)
def test_each_step_has_its_golden_part_of_methods_7_5(stages, part):
    found = measured(FSP(channels("D"), channels("T"), stages=stages), seen("D"), seen("T"))
    assert found["loss"] == pytest.approx(part, rel=2e-9)


def flow(first, second):
    """[n][a][b] in plain Python; maps are nested lists [n][c][position]."""
    return [
        [[sum(x * y for x, y in zip(a, b, strict=True)) / len(a) for b in image_b] for a in image_a]
        for image_a, image_b in zip(first, second, strict=True)
    ]


def test_it_is_the_mean_written_out_though_sizes_differ():
    shapes = [{"a": (2, 2, 2), "b": (3, 1, 1)}, {"a": (2, 1, 3), "b": (3, 1, 3)}]
    maps = [
        {s: h((2, *shape), 10 * k + i) for i, (s, shape) in enumerate(each.items())} for k, each in enumerate(shapes)
    ]
    means = [[[sum(c) / 4] for c in image] for image in maps[0]["a"].flatten(2).tolist()]
    own = flow(means, maps[0]["b"].flatten(2).tolist())
    shown = flow(*(x.flatten(2).tolist() for x in maps[1].values()))
    expected = sum((own[n][a][b] - shown[n][a][b]) ** 2 for n in range(2) for a in range(2) for b in range(3)) / 12
    student, teacher = (Representation(torch.zeros(2, 2), Features(each)) for each in maps)
    head = FSP({"a": 2, "b": 3}, {"a": 2, "b": 3})
    assert head(student, teacher, None).item() == pytest.approx(expected, rel=1e-12)


def test_it_is_zero_for_equal_flows_at_any_order_of_positions():
    student = seen("D")
    mirrored = Representation(student.logits, Features({s: x.detach().flip(-1) for s, x in student.features.items()}))
    assert FSP(channels("D"), channels("D"))(student, mirrored, None).item() == pytest.approx(0, abs=1e-25)


def test_bfloat16_features_are_multiplied_in_float32():
    maps = {s: x.detach().bfloat16() for s, x in seen("D").features.items()}
    hints = {s: x.detach().bfloat16() for s, x in seen("T").features.items()}
    student, teacher = (Representation(torch.zeros(8, 2), Features(each)) for each in (maps, hints))
    exact = [
        Representation(r.logits, Features({s: x.double() for s, x in r.features.items()})) for r in (student, teacher)
    ]
    head = FSP(channels("D"), channels("T"), stages="stem+layer1")  # of one size: pooling would round
    with torch.autocast("cpu", torch.bfloat16):
        loss = head(student, teacher, None)
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(head(*exact, None).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher", "options", "message"),
    [
        (
            WideResNet(10, 1),
            WideResNet(10, 2),
            {},
            "fsp needs equal widths, but the student's 'layer1' has 16 channels and the teacher's 'layer1' 32; "
            "take networks of one width, or other stages.",
        ),
        (
            WideResNet(10, 1),
            WideResNet(10, 1),
            {"stages": "layer2"},
            "fsp compares how stages follow each other and needs two or more, but has only 'layer2'; "
            "give stages=first+second, or take networks that share stages.",
        ),
        (
            MLP(8, 1),
            WideResNet(10, 1),
            {},
            "fsp compares how stages follow each other and needs two or more, but has only 'pooled'; "
            "give stages=first+second, or take networks that share stages.",
        ),
    ],
)
def test_networks_that_do_not_fit_are_refused_in_one_line(student, teacher, options, message):
    with pytest.raises(UserError) as error:
        FSP.for_models(student, teacher, **options)
    assert str(error.value) == message


def test_its_first_stage_brings_the_features_nearer_to_the_teachers():
    torch.manual_seed(0)
    model, teacher = WideResNet(10, 1), TeacherEngine(WideResNet(16, 1))
    head = FSP.for_models(model, teacher.model)
    stage = head.first_stage(model)
    assert stage.term is head
    assert stage.replaces_main
    assert stage.learning_rate is None
    assert not FSP.for_models(model, teacher.model, first_stage_only=False).first_stage(model).replaces_main
    engine = StudentEngine(stage.learner, torch.optim.SGD(stage.learner.parameters(), lr=0.01))
    teacher.attach(engine)
    stage.term.attach(engine)
    losses = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(engine.state.output["loss"].item()))
    engine.run([Batch(h((8, 3, 16, 16), 5).float(), torch.arange(8))] * 8, max_epochs=1)
    assert losses[-1] < 0.9 * losses[0]
