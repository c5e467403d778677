import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from oracles import fill, h
from torch import nn

from ignite_kd.engines import TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.heads import KD, VID, CrossEntropy
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Batch, Features, Representation

MIDDLE = ("layer1", "layer2", "layer3")
SHAPES = {  # methods.md 7.3: the shapes of entries 1 to 3, and the seed of entry 0
    "S": ([(8, 16, 16), (16, 8, 8), (32, 4, 4)], 11),
    "T": ([(16, 16, 16), (32, 8, 8), (64, 4, 4)], 503),
    "B": ([(12, 8, 8), (24, 4, 4), (48, 2, 2)], 207),
    "D": ([(16, 16, 16), (32, 8, 8), (64, 4, 4)], 11),
}


def seen(letter, rectified):
    """The middle entries of a golden input set, rectified ("post") or not ("pre")."""
    shapes, seed = SHAPES[letter]
    maps = [h((8, *shape), 1000 * i + seed) for i, shape in enumerate(shapes, 1)]
    maps = [F.relu(x) if rectified else x for x in maps]
    return Representation(torch.zeros(8, 10).double(), Features(dict(zip(MIDDLE, maps, strict=True))))


def channels(letter):
    return {stage: shape[0] for stage, shape in zip(MIDDLE, SHAPES[letter][0], strict=True)}


def norm(tensors):
    return math.sqrt(sum(t.square().sum().item() for t in tensors))


def filled(weights, seeds):
    with torch.no_grad():
        for weight, seed in zip(weights, seeds, strict=True):
            weight.copy_(h(weight.shape, seed) * math.sqrt(3 / weight[0].numel()))


def golden(head, student, teacher):
    """Loss, its parts, and the gradients of features, helper modules and variances."""
    for maps in student.features.values():
        maps.requires_grad_()
    loss = head(student, teacher, None)
    loss.backward()
    parts = []
    for i, stage in enumerate(MIDDLE):
        alone = VID(*({stage: channels(letter)[stage]} for letter in head.letters), variant=head.variant_name)
        alone.double()
        alone.branches[0].load_state_dict(head.branches[i].state_dict())
        alone.variances[0].data.copy_(head.variances[i].data)
        parts.append(alone(student, teacher, None).item())
    return {
        "loss": [loss.item()],
        "parts": parts,
        "grad": [maps.grad.norm().item() for maps in student.features.values()],
        "aux": [norm(p.grad for p in head.parameters())],
        "variances": [rho.grad.norm().item() for rho in head.variances],
    }


def golden_head(student, teacher, variant, rho):
    head = VID(channels(student), channels(teacher), variant=variant).double()
    head.letters, head.variant_name = (student, teacher), variant
    for parameter in head.variances:
        parameter.data.fill_(rho)
    return head


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ("S", "T", {
            "loss": [2.547935502],
            "parts": [0.8434249961, 0.8505887917, 0.8539217138],
            "grad": [0.0008681681293, 0.002325207673, 0.002642735108],
            "aux": [0.09714602641],
            "variances": [0.02291810405, 0.01596699545, 0.01121611098],
        }),
        ("B", "T", {
            "loss": [2.527005614],
            "parts": [0.8460023035, 0.8384625256, 0.842540785],
            "grad": [0.002620693676, 0.004408806222, 0.004932963098],
            "aux": [0.1183807567],
            "variances": [0.02284173069, 0.01639608409, 0.01150847834],
        }),
        ("D", "B", {
            "loss": [2.515182491],
            "parts": [0.8357259342, 0.8388334041, 0.8406231527],
            "grad": [0.000610385438, 0.001583033035, 0.00239312772],
            "aux": [0.09413943238],
            "variances": [0.02692235882, 0.01890539548, 0.01333538984],
        }),
    ],
    ids=["S-T", "B-T", "D-B"],
)  # fmt: skip
def test_the_benchmark_variant_is_the_golden_value_of_methods_7_6(student, teacher, expected):
    head = golden_head(student, teacher, "benchmark", math.log(math.exp(5 - 1e-5) - 1))
    for i, branch in enumerate(head.branches):
        filled(branch.parameters(), [300 + 1000 * i + 100 * j for j in (1, 2, 3)])
    found = golden(head, seen(student, True), seen(teacher, True))
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=2e-9), name


def test_the_paper_variant_is_the_golden_value_of_methods_7_6():
    head = golden_head("S", "T", "paper", 5.006715348489118)
    filled(head.branches.parameters(), [300 + 100 * j for j in range(6)])
    found = golden(head, seen("S", False), seen("T", False))
    expected = {
        "loss": [2.889929122],
        "parts": [0.9551826784, 0.9628844022, 0.9718620415],
        "grad": [0.003052463346, 0.00501376934, 0.007396904228],
        "aux": [0.1296908122],
        "variances": [0.01753623185, 0.01209205183, 0.008324583036],
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=2e-9), name


WHOLE = {
    True: {
        "kd": 0.2907244602,
        "vid": [1.770242885, 1.985364916, 1.801821399],
        "total": 3.343791609,
        "all": 3.01568071,
        "conv1": 0.6700570333,
        "variances": [0.001893360046, 0.002222014324, 0.001197132048],
    },
    False: {
        "kd": 11.37759321,
        "vid": [5.072051394, 166.7529683, 1898.809541],
        "total": 220.9383736,
        "all": 10.88727154,
        "conv1": 1.022870147,
    },
}


def released_module(model, head):
    """The student as the released code has it: variances, network and branches in one module."""
    module = nn.Module()
    for i, rho in enumerate(head.variances, 1):
        module.register_parameter(f"variance_param{i}", rho)
    for name, child in model.named_children():
        module.add_module(name, child)
    for i, branch in enumerate(head.branches, 1):
        module.add_module(f"branch{i}", branch)
    return module


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_whole_networks_give_the_golden_values_of_methods_7_6(batch_statistics):
    expected = WHOLE[batch_statistics]
    model, teacher_model = WideResNet(16, 1), fill(WideResNet(40, 2), 50007)
    head = VID.for_models(model, teacher_model)
    whole = fill(released_module(model, head), 7)
    for rho in head.variances:
        rho.data.fill_(5.006715348489118)
    batch = Batch(h((4, 3, 32, 32), 5), torch.tensor([(3 * i + 1) % 10 for i in range(4)]))

    student = model.train().represent(batch.images)
    teacher = TeacherEngine(teacher_model, batch_statistics=batch_statistics).represent(batch.images)
    ce, kd = CrossEntropy()(student, teacher, batch), KD(2.0)(student, teacher, batch)
    vid = head(student, teacher, batch)
    total = ce + kd + 0.1 * vid
    total.backward()

    assert ce.item() == pytest.approx(2.497324228, rel=1e-9)
    assert kd.item() == pytest.approx(expected["kd"], rel=1e-9)
    assert vid.item() == pytest.approx(sum(expected["vid"]), rel=1e-9)
    assert total.item() == pytest.approx(expected["total"], rel=1e-9)
    assert norm(p.grad for p in whole.parameters()) == pytest.approx(expected["all"], rel=1e-9)
    assert model.conv1.weight.grad.norm().item() == pytest.approx(expected["conv1"], rel=1e-9)
    if "variances" in expected:
        assert [p.grad.norm().item() for p in head.variances] == pytest.approx(expected["variances"], rel=1e-9)


def regressed(weights, rectified, vector):
    """Matrix after matrix in plain Python, with ReLU between where asked."""
    for i, weight in enumerate(weights):
        vector = [sum(w * x for w, x in zip(row, vector, strict=True)) for row in weight]
        if rectified and i < len(weights) - 1:
            vector = [max(x, 0.0) for x in vector]
    return vector


def written_out(student, teacher, weights, rhos, rectified, epsilon):
    """The loss of one stage: a sum over images, positions and channels; maps are nested lists [n][c][y][x]."""
    images, height, width = len(teacher), len(teacher[0][0]), len(teacher[0][0][0])
    total = 0.0
    for n, y, x in product(range(images), range(height), range(width)):
        mean = regressed(weights, rectified, [channel[y][x] for channel in student[n]])
        for c, rho in enumerate(rhos):
            variance = math.log(1 + math.exp(rho)) + epsilon
            total += 0.5 * ((mean[c] - teacher[n][c][y][x]) ** 2 / variance + math.log(variance))
    return total / (images * height * width * len(rhos))


@pytest.mark.parametrize("variant", ["paper", "benchmark"])
def test_it_is_the_sum_written_out_over_all_stages(variant):
    shapes = {"layer1": ((3, 2, 3), (4, 2, 3)), "layer2": ((2, 1, 2), (5, 1, 2))}
    head = VID(*({stage: pair[k][0] for stage, pair in shapes.items()} for k in (0, 1)), variant=variant).double()
    maps = [{s: h((2, *pair[k]), 10 * i + k) for i, (s, pair) in enumerate(shapes.items())} for k in (0, 1)]
    expected = 0.0
    for i, stage in enumerate(shapes):
        head.variances[i].data.copy_(h(head.variances[i].shape, 40 + i))
        expected += written_out(
            maps[0][stage].tolist(),
            maps[1][stage].tolist(),
            [weight.flatten(1).tolist() for weight in head.branches[i].parameters()],
            head.variances[i].flatten().tolist(),
            rectified=variant == "benchmark",
            epsilon=1e-5 if variant == "benchmark" else 0.0,
        )
    student, teacher = (Representation(torch.zeros(2, 2), Features(each)) for each in maps)
    assert head(student, teacher, None).item() == pytest.approx(expected, rel=1e-12)


def test_bfloat16_features_are_subtracted_in_float32():
    head = VID({"layer1": 3}, {"layer1": 4})
    maps, target = h((2, 3, 2, 2), 1).bfloat16(), h((2, 4, 2, 2), 2).bfloat16()
    student, teacher = (Representation(torch.zeros(2, 2), Features({"layer1": each})) for each in (maps, target))
    with torch.autocast("cpu", torch.bfloat16):
        mean = head.branches[0](maps)
        loss = head(student, teacher, None)
    assert mean.dtype is torch.bfloat16
    expected = ((mean.double() - target.double()).square() / 5 + math.log(5)).mean().item() / 2
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_pooled_vectors_are_regressed_as_maps_of_one_pixel():
    head = VID({"pooled": 3}, {"pooled": 4}).double()
    vectors = h((2, 3), 1), h((2, 4), 2)
    student, teacher = (Representation(torch.zeros(2, 2), pooled=vector) for vector in vectors)
    expected = written_out(
        *(vector[:, :, None, None].tolist() for vector in vectors),
        [weight.flatten(1).tolist() for weight in head.branches[0].parameters()],
        head.variances[0].flatten().tolist(),
        rectified=False,
        epsilon=0.0,
    )
    assert head(student, teacher, None).item() == pytest.approx(expected, rel=1e-12)


def test_a_vector_of_the_student_learns_from_the_mean_of_the_teachers_map():
    head = VID({"flat": 3}, {"layer1": 4}, stages={"flat": "layer1"}).double()
    vector, maps = h((2, 3), 1), h((2, 4, 2, 2), 2)
    student = Representation(torch.zeros(2, 2), Features({"flat": vector}))
    teacher = Representation(torch.zeros(2, 2), Features({"layer1": maps}))
    means = [[[[sum(sum(row) for row in channel) / 4]] for channel in image] for image in maps.tolist()]
    expected = written_out(
        vector[:, :, None, None].tolist(),
        means,
        [weight.flatten(1).tolist() for weight in head.branches[0].parameters()],
        head.variances[0].flatten().tolist(),
        rectified=False,
        epsilon=0.0,
    )
    assert head(student, teacher, None).item() == pytest.approx(expected, rel=1e-12)


def test_a_cnn_and_a_perceptron_meet_at_their_pooled_vectors():
    head = VID.for_models(MLP(8, 1), WideResNet(10, 1))
    assert head.pairs == [("pooled", "pooled")]
    assert [tuple(p.shape) for p in head.branches.parameters()] == [(64, 8, 1, 1), (64, 64, 1, 1)]


@pytest.mark.parametrize(
    ("options", "rho", "variance"),
    [
        ({"softplus_twice": True}, 5.006715348489118, 5.0133859017),
        ({}, math.log(math.exp(5) - 1), 5.0),
        ({"variant": "benchmark"}, 4.9932291827, 5.0),
        ({"initial_variance": 0.5}, math.log(math.exp(0.5) - 1), 0.5),
        ({"initial_variance": 2.0, "softplus_twice": True}, math.log(1 + math.exp(2)), math.log(2 + math.exp(2))),
        ({"initial_variance": 1000.0}, 1000.0, 1000.0),
    ],
)
def test_the_initial_variance_is_what_was_asked_for(options, rho, variance):
    head = VID({"layer1": 2}, {"layer1": 3}, **options)
    assert [tuple(p.shape) for p in head.variances] == [(3, 1, 1)]
    assert head.variances[0].flatten().tolist() == pytest.approx([rho] * 3, rel=1e-6)
    # where the error is zero only the logarithm of the variance is left
    student = Representation(torch.zeros(1, 2), Features({"layer1": torch.zeros(1, 2, 1, 1)}))
    teacher = Representation(torch.zeros(1, 2), Features({"layer1": torch.zeros(1, 3, 1, 1)}))
    assert head(student, teacher, None).item() == pytest.approx(math.log(variance) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("variant", "layers"), [("paper", ["Conv2d"] * 2), ("benchmark", ["Conv2d", "ReLU"] * 2 + ["Conv2d"])]
)
def test_branches_are_convolutions_of_one_pixel_without_bias(variant, layers):
    head = VID({"layer1": 3}, {"layer1": 5}, variant=variant)
    branch = head.branches[0]
    assert [type(layer).__name__ for layer in branch] == layers
    convolutions = [layer for layer in branch if isinstance(layer, nn.Conv2d)]
    assert [layer.weight.shape for layer in convolutions] == [(5, 3, 1, 1), *[(5, 5, 1, 1)] * (len(convolutions) - 1)]
    assert all(layer.bias is None for layer in convolutions)


def test_a_wide_student_with_branches_has_the_published_number_of_parameters():
    model = WideResNet(16, 1)
    head = VID.for_models(model, WideResNet(40, 2))
    assert sum(p.numel() for p in head.parameters()) == 32_480
    assert sum(p.numel() for p in (*model.parameters(), *head.parameters())) == 207_546


def test_the_released_layout_is_the_released_students_state_dict():
    model = WideResNet(10, 1)
    head = VID.for_models(model, WideResNet(10, 2))
    expected = released_module(model, head).state_dict()
    found = head.released_layout(model.state_dict())
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert [*found][:4] == ["variance_param1", "variance_param2", "variance_param3", "conv1.weight"]
    assert [*found][-6:] == [f"branch{i}.{j}.weight" for i in (1, 2, 3) for j in (0, 1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "amzn"}, "the variant of vid should be paper or benchmark, but 'amzn' was given."),
        ({"initial_variance": 0.0}, "initial_variance of vid should be above 0.0001, but 0.0 was given."),
        ({"initial_variance": -1.0}, "initial_variance of vid should be above 0.0001, but -1.0 was given."),
        ({"initial_variance": math.nan}, "initial_variance of vid should be above 0.0001, but nan was given."),
        ({"stages": "layer4"}, "the student has no stage 'layer4'; it gives stem, layer1, layer2, layer3, pooled."),
        ({"stages": {"layer1": "x"}}, "the teacher has no stage 'x'; it gives stem, layer1, layer2, layer3, pooled."),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(options, message):
    model = WideResNet(10, 1)
    with pytest.raises(UserError) as error:
        VID.for_models(model, model, **options)
    assert str(error.value) == message


@pytest.mark.parametrize(("student", "teacher"), [("B", "T"), ("S", "B")])
def test_networks_with_other_channels_than_declared_are_refused(student, teacher):
    head = VID(channels("S"), channels("T")).double()
    with pytest.raises(RuntimeError, match=r"channels|size of tensor"):
        head(seen(student, True), seen(teacher, True), None)
