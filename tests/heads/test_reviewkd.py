import pytest
import stage_sets
import torch
from oracles import fill, h
from stage_sets import norm

from ignite_kd import heads, models
from ignite_kd.errors import UserError
from ignite_kd.heads.reviewkd import ReviewKD, _resized, hierarchical_loss
from ignite_kd.representation import Features, Representation

WIDTHS = {"S": (32, 4011), "B": (40, 4207), "T": (64, 4503), "D": (64, 4011)}


def pooled(letter):
    width, seed = WIDTHS[letter]
    return ((1 + h((8, width), seed)) / 2).requires_grad_()


def channels(letter):
    return stage_sets.channels(letter) | {"pooled": WIDTHS[letter][0]}


def student_of(letter):
    seen = stage_sets.seen(letter)
    return Representation(seen.logits, seen.features, pooled=pooled(letter))


def teacher_of(letter):
    before = stage_sets.seen(letter, rectified=False).before_relu
    rectified = Features({stage: maps.detach().relu() for stage, maps in before.items()})
    return Representation(torch.zeros(8, 10).double(), rectified, before, pooled(letter))


@pytest.mark.parametrize(
    ("student", "parameters", "loss", "grad", "aux"),
    [
        ("S", 54_502, 4.397147413, [0.01167010397, 0.02023999861, 0.03459885299, 0.1169947628], 0.8113148023),
        ("B", 69_478, 4.546197692, [0.01449962294, 0.0287891583, 0.043145306, 0.1324522149], 0.8860574756),
    ],
)
def test_it_is_the_golden_value_of_methods_7_6(student, parameters, loss, grad, aux):
    head = fill(ReviewKD(channels(student), channels("T")), 300)
    assert sum(p.numel() for p in head.parameters()) == parameters
    given = student_of(student)
    found = head(given, teacher_of("T"), None)
    found.backward()
    assert found.item() == pytest.approx(loss, rel=1e-9)
    tensors = [*(given.features[stage] for stage in ("layer1", "layer2", "layer3")), given.pooled]
    assert [t.grad.norm().item() for t in tensors] == pytest.approx(grad, rel=1e-9)
    assert norm(p.grad for p in head.parameters()) == pytest.approx(aux, rel=1e-9)
    assert given.features["stem"].grad is None


def test_the_hierarchical_loss_is_the_golden_value_of_methods_7_5():
    own, shown = stage_sets.seen("D").features, stage_sets.seen("T", rectified=False).before_relu
    parts = [hierarchical_loss(own[stage], shown[stage]) for stage in ("layer1", "layer2", "layer3")]
    assert [part.item() for part in parts] == pytest.approx([0.4580817667, 0.4999013355, 0.5364468815], rel=1e-9)
    sum(parts).backward()
    grad = [own[stage].grad.norm().item() for stage in ("layer1", "layer2", "layer3")]
    assert grad == pytest.approx([0.006068128689, 0.009332417461, 0.01399243116], rel=1e-9)
    one = pooled("D").detach()[:, :, None, None].requires_grad_()
    loss = hierarchical_loss(one, pooled("T")[:, :, None, None].detach())
    loss.backward()
    assert loss.item() == pytest.approx(0.2460657129, rel=1e-9)
    assert one.grad.norm().item() == pytest.approx(0.04384504968, rel=1e-9)


def test_only_pools_smaller_than_the_map_count_and_the_weights_go_to_them_in_turn():
    own, shown = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 1.0], [1.0, -1.0]]]])
    mse, pooled_mse = 1.0, 0.5**2  # the mean of the map is a half
    assert hierarchical_loss(own, shown).item() == pytest.approx((mse + pooled_mse / 2) / 1.5)


@pytest.mark.parametrize("size", [(6, 10), (3, 5), (9, 10), (7, 5), (2, 12), (4, 4)])
def test_maps_are_resized_to_the_nearest_pixel(size):
    maps = torch.randn(2, 3, 3, 5)
    assert torch.equal(_resized(maps, torch.Size(size)), torch.nn.functional.interpolate(maps, size, mode="nearest"))


@pytest.mark.parametrize(
    ("teacher", "student"), [("vgg13", "MobileNetV2"), ("ResNet50", "vgg8"), ("resnet32x4", "ShuffleV2")]
)
def test_widths_are_those_of_the_benchmarks_settings(teacher, student):
    """methods.md 3.17: in and out channels of the pairs, from shallow to deep, and the width of the fusion."""
    settings = {
        "MobileNetV2": ([12, 16, 48, 160, 1280], [128, 256, 512, 512, 512]),
        "vgg8": ([128, 256, 512, 512, 512], [256, 512, 1024, 2048, 2048]),
        "ShuffleV2": ([116, 232, 464, 1024], [64, 128, 256, 256]),
    }
    with torch.device("meta"):
        head = heads.build("reviewkd", student=models.build(student, 100), teacher=models.build(teacher, 100))
    inputs, outputs = settings[student]
    assert [fusion.conv1[0].in_channels for fusion in reversed(head.fusions)] == inputs
    assert [fusion.conv2[0].out_channels for fusion in reversed(head.fusions)] == outputs
    assert {fusion.conv1[0].out_channels for fusion in head.fusions} == {512}


def test_with_other_numbers_of_stages_the_deepest_meet():
    head = ReviewKD({"layer1": 4, "layer2": 5, "pooled": 5}, {"layer1": 2, "layer2": 3, "layer3": 4, "pooled": 4})
    assert head.pairs == [("pooled", "pooled"), ("layer2", "layer3"), ("layer1", "layer2")]


def test_stages_may_be_named_from_shallow_to_deep():
    widths = {"layer1": 4, "layer2": 5, "pooled": 5}
    assert ReviewKD(widths, widths, stages="layer1+layer2").pairs == [
        ("pooled", "pooled"), ("layer2", "layer2"), ("layer1", "layer1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_width": 0}, "max_width of reviewkd should be 1 or more, but 0"),
        ({"stages": "layer7"}, "no stage 'layer7'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, message):
    widths = {"layer1": 4, "pooled": 5}
    with pytest.raises(UserError, match=message):
        ReviewKD(widths, widths, **options)


def test_networks_without_a_pooled_vector_are_refused_in_one_line():
    with pytest.raises(UserError, match="the teacher has no stage 'pooled'"):
        ReviewKD({"layer1": 4, "pooled": 5}, {"layer1": 4})
