import warnings

import pytest
import torch
from torch import nn

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.recognise import describe, name_of_folder, recognise, teacher_name
from ignite_kd.weights import save_weights

MORE = ["wrn_22_3", "wrn_28_10", "resnet26", "resnet14x4", "resnet32_1w1a", "mlp_8", "resnet18_fc3", "resnet101_fc3"]
TORCHVISION = ["alexnet", "vgg16", "vgg11_bn", "resnet50", "resnet152", "wide_resnet50_2", "resnext50_32x4d",
               "densenet121", "mobilenet_v2", "shufflenet_v2_x1_0"]  # fmt: skip


@pytest.mark.parametrize("name", [*models.names(), *MORE])
def test_every_network_is_recognised_by_its_names_and_shapes_with_batch_counters_or_without(name):
    with torch.device("meta"):
        state = models.build(name, 37).state_dict()
    assert recognise(state)[:2] == (name, 37)
    state = {key: t for key, t in state.items() if not key.endswith("num_batches_tracked")}
    assert describe(state) == f"{name} with 37 classes"


@pytest.mark.parametrize("name", TORCHVISION)
def test_common_networks_of_torchvision_are_recognised(name):
    from torchvision.models import get_model

    with torch.device("meta"):
        assert recognise(get_model(name, num_classes=5).state_dict())[:2] == (f"torchvision:{name}", 5)


def test_where_torchvision_has_the_same_network_ours_is_named():
    from torchvision.models import resnet34

    with torch.device("meta"):
        assert recognise(resnet34().state_dict())[:2] == ("ResNet34", 1000)


def test_a_perceptron_is_recognised_with_its_options_and_can_be_built_from_them():
    state = models.build("mlp_8", 3, hidden=2, image_size=8).state_dict()
    known = recognise(state)
    assert known == ("mlp_8", 3, {"hidden": 2, "image_size": 8})
    models.build(known.name, known.num_classes, **known.options).load_state_dict(state)


def test_almost_is_not_recognised():
    with torch.device("meta"):
        state = models.build("resnet20", 10).state_dict()
    assert recognise(state | {"extra": torch.ones(1)}) is None
    assert recognise({key: t for key, t in state.items() if key != "bn1.bias"}) is None
    assert recognise(state | {"layer1.0.conv1.weight": torch.ones(24, 16, 3, 3)}) is None
    assert recognise(nn.Linear(2, 2).state_dict()) is None
    assert recognise({}) is None


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("wrn_40_2_vanilla", "wrn_40_2"),
        ("resnet32x4_vanilla", "resnet32x4"),
        ("ResNet50_vanilla", "ResNet50"),
        ("MobileNetV2", "MobileNetV2"),
        ("resnet110_cifar100_lr_0.05_decay_0.0005_trial_0", "resnet110"),
        ("resnet20_1w1a_x", "resnet20_1w1a"),
        ("wideresnet16_4_cifar100", "wideresnet16_4"),
        ("wrn_40", None),
        ("wrn_41_2_vanilla", None),
        ("resnet", None),
        ("models", None),
        ("save", None),
    ],
)
def test_folders_of_repdistiller_say_which_network_is_in_them(folder, name):
    assert name_of_folder(f"save/models/{folder}/ckpt_epoch_240.pth") == name


def saved(path, name, classes=10, card=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    state = models.build(name, classes).state_dict()
    if card is None:
        torch.save({"model": state, "epoch": 240}, path)
    else:
        save_weights(path, state, card)
    return path


def test_the_card_says_the_name(tmp_path):
    path = saved(tmp_path / "resnet20_x" / "t.th", "ResNet18", card={"model": "torchvision:resnet18"})
    assert teacher_name(path) == "torchvision:resnet18"


def test_a_card_of_other_weights_does_not_count(tmp_path):
    path = saved(tmp_path / "t.th", "resnet8", card={"model": "resnet8"})
    torch.save(models.build("resnet14", 10).state_dict(), path)
    with pytest.warns(UserWarning, match="card of another file"):
        assert teacher_name(path) == "resnet14"


def test_names_and_shapes_say_the_name_where_no_card_does(tmp_path):
    assert teacher_name(saved(tmp_path / "models" / "t.pth", "vgg8")) == "vgg8"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert teacher_name(saved(tmp_path / "vgg8_vanilla" / "t.pth", "vgg8")) == "vgg8"


def test_the_file_is_believed_and_not_its_folder(tmp_path):
    path = saved(tmp_path / "wrn_40_2_vanilla" / "ckpt_epoch_240.pth", "wrn_16_2")
    with pytest.warns(UserWarning, match=r"is wrn_16_2 with 10 classes, though its folder is called after wrn_40_2"):
        assert teacher_name(path) == "wrn_16_2"


def test_the_folder_says_it_where_nothing_else_does(tmp_path):
    (tmp_path / "resnet32x4_vanilla").mkdir()
    path = tmp_path / "resnet32x4_vanilla" / "ckpt.pth"
    torch.save({"strange": torch.ones(2)}, path)
    assert teacher_name(path) == "resnet32x4"


def test_where_nothing_says_it_the_user_is_asked(tmp_path):
    torch.save({"strange": torch.ones(2)}, tmp_path / "ckpt.pth")
    with pytest.raises(UserError, match=r"nor its folder's name tell which network it is; say --model_t NAME"):
        teacher_name(tmp_path / "ckpt.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nowhere\.pth: No such file"):
        teacher_name(tmp_path / "resnet20_vanilla" / "nowhere.pth")


def test_a_stranger_with_a_part_of_our_names_is_not_recognised():
    assert recognise({"layer3.0.conv1.weight": torch.zeros(8, 8, 3, 3), "fc.weight": torch.zeros(10, 8)}) is None
