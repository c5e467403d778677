import pytest
import torch
from torch import nn

from ignite_kd.errors import UserError
from ignite_kd.heads import build
from ignite_kd.heads.stages import pair_stages, refuse_vectors
from ignite_kd.models import MLP, WideResNet

WRN = {"stem": 16, "layer1": 16, "layer2": 32, "layer3": 64, "pooled": 64}
DEEP = {"stem": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512, "pooled": 512}
PERCEPTRON = {"hidden1": 8, "hidden2": 8, "pooled": 8}


def test_by_default_the_stages_between_stem_and_pooling_that_both_have():
    expected = [("layer1", "layer1"), ("layer2", "layer2"), ("layer3", "layer3")]
    assert pair_stages(WRN, WRN) == expected
    assert pair_stages(WRN, DEEP) == expected
    assert pair_stages(DEEP, WRN) == expected


def test_networks_with_nothing_in_common_meet_at_the_pooled_vectors():
    assert pair_stages(PERCEPTRON, WRN) == [("pooled", "pooled")]
    assert pair_stages(WRN, PERCEPTRON) == [("pooled", "pooled")]


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("layer3", [("layer3", "layer3")]),
        ("layer2+layer3", [("layer2", "layer2"), ("layer3", "layer3")]),
        ("layer2:layer3+pooled", [("layer2", "layer3"), ("pooled", "pooled")]),
        (["layer3", "layer1:layer4"], [("layer3", "layer3"), ("layer1", "layer4")]),
        (("stem",), [("stem", "stem")]),
        ({"layer1": "layer2", "pooled": "pooled"}, [("layer1", "layer2"), ("pooled", "pooled")]),
    ],
)
def test_stages_can_be_chosen_as_a_word_a_list_or_a_mapping(stages, expected):
    assert pair_stages(WRN, DEEP, stages) == expected


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("layer9", "the student has no stage 'layer9'; it gives stem, layer1, layer2, layer3, pooled."),
        ("layer4", "the student has no stage 'layer4'; it gives stem, layer1, layer2, layer3, pooled."),
        (
            {"layer1": "layer7"},
            "the teacher has no stage 'layer7'; it gives stem, layer1, layer2, layer3, layer4, pooled.",
        ),
        ("", "stages should name at least one stage."),
        ("+", "stages should name at least one stage."),
        ([], "stages should name at least one stage."),
        ({}, "stages should name at least one stage."),
    ],
)
def test_a_stage_that_is_not_there_is_named_with_those_that_are(stages, message):
    with pytest.raises(UserError) as error:
        pair_stages(WRN, DEEP, stages)
    assert str(error.value) == message


def test_networks_that_share_no_stage_and_pool_nothing_are_refused():
    with pytest.raises(UserError, match="the teacher has no stage 'pooled'; it gives block1"):
        pair_stages(WRN, {"block1": 8})


def test_a_model_that_declares_no_channels_is_told_how():
    with pytest.raises(UserError, match=r"Linear does not declare the channels .* models\.tap"):
        build("vid", student=nn.Linear(2, 2), teacher=nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("student", "teacher", "pair", "who"),
    [
        (None, None, ("pooled", "layer1"), "student's 'pooled'"),
        (None, None, ("layer1", "logits"), "teacher's 'logits'"),
        (MLP(8, 1), WideResNet(10, 1), ("hidden1", "layer1"), "student's 'hidden1'"),
        (WideResNet(10, 1), MLP(8, 1), ("layer1", "hidden1"), "teacher's 'hidden1'"),
    ],
)
def test_stages_known_to_be_vectors_are_refused(student, teacher, pair, who):
    with pytest.raises(UserError, match=f"^at compares the positions of maps, but the {who} is a vector; name"):
        refuse_vectors("at", [pair], student, teacher)


def test_stages_of_networks_without_strides_pass():
    refuse_vectors("at", [("a", "b")], torch.nn.Linear(2, 2), None)
    refuse_vectors("at", [("layer1", "stem")], WideResNet(10, 1), WideResNet(10, 1))
