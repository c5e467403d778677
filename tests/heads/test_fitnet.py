import math

import pytest
import torch
import torch.nn.functional as F
from oracles import fill, h
from stage_sets import channels, measured, seen, strides

from ignite_kd.errors import UserError
from ignite_kd.heads import FitNet
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Features, Representation


def head_for(student, teacher, **options):
    return FitNet(channels(student), channels(teacher), strides(student), strides(teacher), **options).double()


@pytest.mark.parametrize(
    ("student", "teacher", "loss", "grad", "aux"),
    [
        ("S", "T", 0.517636233, 0.0167620931, 0.1682236792),
        ("B", "T", 0.5288861331, 0.01533977153, 0.2660617126),
        ("D", "B", 0.5256638532, 0.04200439227, 0.3021743441),
    ],
)
def test_the_second_stage_has_the_golden_value_of_methods_7_6(student, teacher, loss, grad, aux):
    head = head_for(student, teacher)
    assert head.pairs == [("layer2", "layer2")]
    found = measured(fill(head, 300), seen(student), seen(teacher))
    assert found["loss"] == pytest.approx(loss, rel=2e-9)
    assert found["grad"] == pytest.approx([grad], rel=2e-9)
    assert found["aux"] == pytest.approx(aux, rel=2e-9)


def representation(stage, maps):
    return Representation(torch.zeros(len(maps), 2), Features({stage: maps}))


def test_a_convolution_without_padding_has_the_golden_value_of_methods_7_6():
    # images of 12: maps of 6 and 4
    head = fill(FitNet({"a": 8}, {"a": 16}, {"a": 2}, {"a": 3}, image_size=12), 300)
    maps, hint = F.relu(h((8, 8, 6, 6), 4011)).requires_grad_(), F.relu(h((8, 16, 4, 4), 4503))
    found = measured(head, representation("a", maps), representation("a", hint))
    assert found["loss"] == pytest.approx(0.5316381012, rel=2e-9)
    assert found["grad"] == pytest.approx([0.05000611255], rel=2e-9)
    assert found["aux"] == pytest.approx(0.2775428857, rel=2e-9)


def written_out(maps, hints, weights, biases):
    """Mean of (ReLU(BN(conv(s))) - t)² for a 1 × 1 convolution; maps are nested lists [n][c][position]."""
    images, positions, total = len(maps), len(maps[0][0]), 0.0
    for c, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        out = [
            [sum(w * channel[x] for w, channel in zip(weight, image, strict=True)) + bias for x in range(positions)]
            for image in maps
        ]
        mean = sum(sum(row) for row in out) / (images * positions)
        variance = sum((y - mean) ** 2 for row in out for y in row) / (images * positions)
        for n in range(images):
            for x in range(positions):
                normed = (out[n][x] - mean) / math.sqrt(variance + 1e-5)
                total += (max(normed, 0.0) - hints[n][c][x]) ** 2
    return total / (images * positions * len(weights))


def test_it_is_the_mean_written_out_and_several_stages_add_up():
    head = FitNet({"a": 3, "b": 2}, {"a": 2, "b": 4}, {}, {}, stages=["a", "b"]).double()
    maps = {"a": h((3, 3, 2, 2), 1), "b": h((3, 2, 1, 2), 2)}
    hints = {"a": h((3, 2, 2, 2), 3), "b": h((3, 4, 1, 2), 4)}
    expected = sum(
        written_out(
            maps[stage].flatten(2).tolist(),
            hints[stage].flatten(2).tolist(),
            regressor.conv.weight.flatten(1).tolist(),
            regressor.conv.bias.tolist(),
        )
        for stage, regressor in zip("ab", head.regressors, strict=True)
    )
    student, teacher = (Representation(torch.zeros(3, 2), Features(each)) for each in (maps, hints))
    assert head(student, teacher, None).item() == pytest.approx(expected, rel=1e-10)


def test_it_is_zero_where_the_hint_is_what_the_regressor_says():
    head = FitNet({"a": 3}, {"a": 4}, {}, {})
    maps = torch.randn(3, 3, 4, 4)
    assert head(representation("a", maps), representation("a", head.regressors[0](maps)), None).item() == 0


def test_a_size_that_no_convolution_reaches_meets_the_pooled_hint():
    head = FitNet({"a": 3}, {"a": 4}, {"a": 16}, {"a": 4})
    maps, hint = torch.randn(3, 3, 2, 2), torch.randn(3, 4, 8, 8)
    expected = (head.regressors[0](maps) - F.avg_pool2d(hint, 4)).square().mean()
    assert head(representation("a", maps), representation("a", hint), None).item() == pytest.approx(expected.item())


def test_images_of_another_size_than_said_are_met_by_pooling():
    head = head_for("S", "T", image_size=48).float()
    student, teacher = (
        Representation(s.logits, Features({stage: x.detach().float() for stage, x in s.features.items()}))
        for s in (seen("S"), seen("T"))
    )
    assert head(student, teacher, None).isfinite()


def test_a_cnn_and_a_perceptron_meet_at_their_pooled_vectors():
    head = FitNet.for_models(MLP(8, 1), WideResNet(10, 1))
    assert head.pairs == [("pooled", "pooled")]
    assert head.regressors[0].conv.weight.shape == (64, 8, 1, 1)
    student, teacher = (Representation(torch.zeros(3, 2), pooled=torch.randn(3, width)) for width in (8, 64))
    assert head(student, teacher, None).isfinite()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": "layer4"}, "the student has no stage 'layer4'; it gives stem, layer1, layer2, layer3, pooled."),
        ({"image_size": 0}, "image_size should be 1 or more, but 0 was given (CIFAR has 32)."),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(options, message):
    model = WideResNet(10, 1)
    with pytest.raises(UserError) as error:
        FitNet.for_models(model, model, **options)
    assert str(error.value) == message
