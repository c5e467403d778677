import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision
from oracles import h
from torch import nn

from ignite_kd.errors import UserError
from ignite_kd.models import tap

STAGES = ["layer1", "layer2", "layer3"]
IMAGES = h((2, 3, 32, 32), 5).float()


def resnet18():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=10)


class Small(nn.Module):
    """A buffer and a parameter of its own, an in-place rectification, dropout as a module and as a function."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.register_buffer("shift", torch.full((3, 1, 1), 0.5))
        self.register_buffer("passing", torch.ones(1), persistent=False)
        self.scale = nn.Parameter(torch.full((3, 1, 1), 2.0))
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.drop, self.rate = nn.Dropout(dropout), dropout
        self.fc = nn.Linear(4, 5)

    def forward(self, images):
        maps = self.act(self.norm(self.conv((images - self.shift) * self.scale * self.passing)))
        return self.fc(F.dropout(self.drop(maps.mean((2, 3))), self.rate, self.training))


def hooked(model, places, images):
    """The same by forward hooks: logits, and what came out of each module when it came out."""
    found = {}
    handles = [
        model.get_submodule(place).register_forward_hook(lambda _, __, out, p=place: found.update({p: out.clone()}))
        for place in places
    ]
    logits = model(images)
    for handle in handles:
        handle.remove()
    return logits, found


def assert_same_state(one, other):
    assert list(one) == list(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("build", [resnet18, torchvision.models.squeezenet1_1, Small])
def test_features_are_what_forward_hooks_see(build, training):
    places = {Small: ["conv", "norm", "act"], resnet18: [*STAGES, "bn1", "layer4.1.bn2"]}.get(build, ["features.3"])
    images = F.interpolate(IMAGES, 64) if build is torchvision.models.squeezenet1_1 else IMAGES
    torch.manual_seed(0)
    model = build().train(training)
    twin = copy.deepcopy(model)
    tapped = tap(model, places, image_size=images.shape[-1])
    torch.manual_seed(1)
    seen = tapped.represent(images)
    torch.manual_seed(1)
    logits, found = hooked(twin, places, images)
    assert torch.equal(seen.logits, logits)
    assert sorted(seen.features) == sorted(places)
    for place in places:
        assert torch.equal(seen.features[place], found[place]), place
    assert list(seen.before_relu) == list(seen.features)
    assert_same_state(model.state_dict(), twin.state_dict())  # running statistics too have moved as often
    moved = any(int(b) == 1 for name, b in model.named_buffers() if name.endswith("num_batches_tracked"))
    assert moved is (training and build is not torchvision.models.squeezenet1_1)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_before_relu_is_the_input_of_a_rectification_at_the_end(training):
    torch.manual_seed(0)
    model = resnet18().train(training)
    twin, found = copy.deepcopy(model), {}
    twin.bn1.register_forward_hook(lambda _, __, out: found.update(bn1=out.clone()))
    twin.layer1[1].relu.register_forward_pre_hook(lambda _, args: found.update(layer1=args[0].clone()))
    tapped = tap(model, {"relu": "stem", "layer1": "layer1", "layer2.0.bn1": "inner"})
    seen = tapped.represent(IMAGES)
    assert torch.equal(twin(IMAGES), seen.logits)
    assert torch.equal(seen.before_relu["stem"], found["bn1"])
    assert torch.equal(seen.before_relu["layer1"], found["layer1"])  # of the second call of one in-place rectification
    assert torch.equal(seen.features["layer1"], found["layer1"].clamp(min=0))
    assert torch.equal(seen.before_relu["inner"], seen.features["inner"]) and (seen.features["inner"] < 0).any()
    assert tapped.norms == {"stem": "bn1", "layer1": "layer1.1.bn2", "inner": "layer2.0.bn1"}


class Ways(nn.Module):
    """Rectifications as functions and as methods, in place and not; a norm that another layer follows."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv, self.other = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.six, self.fc = nn.ReLU6(), nn.Linear(3, 2)

    def forward(self, images):
        first = F.relu(self.norm(images * 3))
        second = torch.relu(first - 0.1)
        third = (second - 0.2).relu()
        fourth = (third - 0.3).relu_()
        fifth = F.relu(self.conv(fourth), inplace=True)
        sixth = self.six(torch.cat([fifth - 0.1, fifth], dim=1)[:, :3])
        seventh = F.hardtanh(self.other(sixth))
        return self.fc(seventh.mean((2, 3)))


@torch.no_grad()
def test_every_way_to_rectify_is_seen():
    model = Ways().eval()
    tapped = tap(model, ["relu", "relu_1", "relu_2", "relu_", "relu_3", "six", "hardtanh"])
    seen = tapped.represent(IMAGES)
    assert torch.equal(seen.logits, model(IMAGES))
    for stage, tensor in seen.features.items():
        if stage == "hardtanh":
            assert seen.before_relu[stage] is tensor
        else:
            most = 6 if stage == "six" else float("inf")
            assert torch.equal(seen.before_relu[stage].clamp(0, most), tensor), stage
            assert (seen.before_relu[stage] < 0).any(), stage
    # up to the convolution every rectified sum comes from the rectified norm; behind it there is none
    assert tapped.norms == dict.fromkeys(("relu", "relu_1", "relu_2", "relu_"), "norm") | {"hardtanh": "other"}
    assert tapped.feature_modules == ("norm", "conv", "other", "six")


def test_strides_and_feature_modules_end_with_the_last_stage():
    tapped = tap(resnet18(), STAGES, image_size=64)
    assert tapped.strides == {"layer1": 4, "layer2": 8, "layer3": 16}
    assert tapped.feature_modules == ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    assert tap(resnet18()).strides == {} and tap(resnet18()).feature_modules == ()
    vectors = tap(Small(), {"act": "maps", "drop": "vector"})
    assert vectors.strides == {"maps": 1} and vectors.channels == {"maps": 4, "vector": 4, "pooled": 4}
    assert vectors.feature_modules == ("conv", "norm", "act", "drop")
    again = copy.deepcopy(vectors)
    assert (again.strides, again.norms, again.feature_modules) == (
        vectors.strides, vectors.norms, vectors.feature_modules,
    )  # fmt: skip


def test_the_pooled_vector_is_what_the_classifier_takes():
    model = resnet18().eval()
    inputs = []
    tapped = tap(model, STAGES)
    model.fc.register_forward_hook(lambda _, args, __: inputs.append(args[0]))
    seen = tapped.represent(IMAGES)
    assert len(inputs) == 1  # no hook has run while the tap was built, and this one has run since
    assert torch.equal(seen.pooled, inputs[0]) and seen.pooled.shape == (2, 512)
    assert tap(torchvision.models.squeezenet1_1().eval(), ["features"], image_size=64).represent(IMAGES).pooled is None


@pytest.mark.parametrize("mode", [True, False])
def test_gradients_are_those_of_the_network(mode):
    model = resnet18().double().train(mode)  # two images' batch norms make gradients that float32 cannot compare
    twin = copy.deepcopy(model)
    tapped = tap(model, STAGES)
    seen = tapped.represent(IMAGES.double())
    (seen.logits.square().sum() + seen.features["layer2"].square().mean()).backward()
    logits, found = hooked(twin, ["layer2"], IMAGES.double())
    (logits.square().sum() + found["layer2"].square().mean()).backward()
    for (name, one), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=lambda found, name=name: f"{name}: {found}")


def test_what_it_says_of_itself():
    tapped = tap(resnet18(), [*STAGES, "layer4"])
    # the table of He et al., 2016: 64, 128, 256 and 512 channels
    assert list(tapped.channels.items()) == list(
        {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512, "pooled": 512}.items()
    )
    assert (tapped.name, tapped.num_classes) == ("ResNet", 10)
    assert tap(resnet18()).channels == {"pooled": 512}
    assert tap(resnet18(), "layer1").channels == {"layer1": 64, "pooled": 512}


def test_stages_may_have_other_names():
    tapped = tap(resnet18().eval(), {"layer2": "middle", "avgpool": "pooled"})
    seen = tapped.represent(IMAGES)
    assert list(seen.features) == ["middle"] and seen.features["middle"].shape == (2, 128, 4, 4)
    assert tapped.channels == {"middle": 128, "pooled": 512} and seen.pooled.shape == (2, 512)


@pytest.mark.parametrize("build", [resnet18, Small])
def test_the_state_dict_is_the_networks_own(build):
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tapped = tap(model, ["conv1" if build is resnet18 else "conv"])
    assert_same_state(tapped.state_dict(), before)
    assert_same_state(model.state_dict(), before)
    for (name, one), (other_name, other) in zip(tapped.named_parameters(), model.named_parameters(), strict=True):
        assert one is other and name == other_name


def test_training_the_one_trains_the_other():
    model = Small()
    tapped = tap(model, ["conv"])
    optimizer = torch.optim.SGD(tapped.parameters(), lr=0.1)
    before = model.fc.weight.detach().clone()
    tapped.represent(IMAGES).logits.square().sum().backward()
    optimizer.step()
    assert not torch.equal(model.fc.weight, before)
    tapped.load_state_dict({name: torch.zeros_like(t) for name, t in tapped.state_dict().items()})
    assert all(bool((p == 0).all()) for p in model.parameters())


def test_the_mode_is_shared_with_the_network():
    model = resnet18().eval()
    tapped = tap(model, STAGES)
    assert not tapped.training
    tapped.train()
    assert model.training and model.layer1[0].bn1.training and tapped.training
    tapped.eval()
    assert not (model.training or model.layer1[0].bn1.training or tapped.training)


@pytest.mark.parametrize("training", [True, False])
def test_building_moves_neither_statistics_nor_random_numbers_nor_modes(training):
    model = resnet18().train(training)
    model.layer1.eval()  # frozen on purpose
    modes = {name: module.training for name, module in model.named_modules()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    tap(model, STAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_state(model.state_dict(), before)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(p.requires_grad and p.device.type == "cpu" for p in model.parameters())


def test_a_copy_is_independent():
    model = Small().eval()
    tapped = tap(model, {"conv": "stem"})
    copied = copy.deepcopy(tapped)
    expected = tapped.represent(IMAGES)
    with torch.no_grad():
        for parameter in tapped.parameters():
            parameter.zero_()
        tapped.shift.zero_()
    seen = copied.represent(IMAGES)
    assert torch.equal(seen.logits, expected.logits)
    assert torch.equal(seen.features["stem"], expected.features["stem"])
    assert (copied.channels, copied.name, copied.training) == (tapped.channels, "Small", False)
    assert not {id(p) for p in copied.parameters()} & {id(p) for p in model.parameters()}


def test_a_tap_can_be_pickled():
    tapped = tap(Small().eval(), {"conv": "stem"})
    again = pickle.loads(pickle.dumps(tapped))
    assert torch.equal(again.represent(IMAGES).features["stem"], tapped.represent(IMAGES).features["stem"])
    assert_same_state(again.state_dict(), tapped.state_dict())


@pytest.mark.parametrize("which", ["the tap", "the network"])
def test_buffers_and_parameters_of_the_root_follow_into_another_precision(which):
    model = Small().eval()
    tapped = tap(model, ["conv"])
    (tapped if which == "the tap" else model).double()
    seen = tapped.represent(IMAGES.double())
    assert seen.logits.dtype is seen.features["conv"].dtype is torch.float64
    assert tapped.shift.dtype is tapped.passing.dtype is tapped.scale.dtype is torch.float64
    assert torch.equal(seen.logits, model(IMAGES.double()))
    with torch.no_grad():
        tapped.shift.fill_(0.25)  # the recorded code reads the buffer itself, no copy of it
        assert torch.equal(tapped(IMAGES.double()), model(IMAGES.double()))
    assert not torch.equal(tapped(IMAGES.double()), seen.logits)


def test_dropout_is_active_in_training_alone():
    model = Small(dropout=0.5)
    model.norm.eval()
    tapped = tap(model, ["conv"]).eval()
    with torch.no_grad():
        assert torch.equal(tapped(IMAGES), tapped(IMAGES))
        assert torch.equal(tapped(IMAGES), model(IMAGES))
        tapped.train()
        torch.manual_seed(0)
        first, second = tapped(IMAGES), tapped(IMAGES)
        assert not torch.equal(first, second)
        torch.manual_seed(0)
        assert torch.equal(model(IMAGES), first)


# refusals


@pytest.mark.parametrize(
    ("stage", "nearest"), [("layer5", "layer[1-4]"), ("Layer2", "layer2"), ("avg_pool", "avgpool")]
)
def test_an_unknown_stage_offers_the_nearest(stage, nearest):
    with pytest.raises(UserError, match=rf"unknown stage '{stage}'; did you mean '{nearest}'\?") as caught:
        tap(resnet18(), ["layer1", stage])
    assert all(f"layer{i}" in str(caught.value).partition("possible")[2] for i in range(1, 5))


def test_an_unknown_place_inside_a_stage_offers_the_nearest():
    with pytest.raises(UserError, match=r"unknown stage 'layer1\.0\.conv3'; did you mean 'layer1\.0\.conv[12]'"):
        tap(resnet18(), ["layer1.0.conv3"])


class Branching(Small):
    def forward(self, images):
        return super().forward(images) if images.sum() > 0 else super().forward(-images)


class Drawing(Small):
    def forward(self, images):
        return super().forward(images) + torch.rand(5)


class Counting(Small):
    def forward(self, images):
        self.passing += 1
        return super().forward(images)


class Talkative(Small):
    def forward(self, images):
        return super().forward(images), images


class Flat(Small):
    def forward(self, images):
        return super().forward(images).sum(1)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Branching, r"torch\.fx cannot record the forward of Branching \(.+\)"),
        (Drawing, "a recording of Drawing would freeze its random numbers"),
        (Counting, "a recording of Counting would freeze .* what it counts"),
        (Talkative, "the forward of Talkative gives out more than the logits"),
        (Flat, "'logits' of Flat is no tensor of images × channels"),
    ],
)
def test_a_network_that_cannot_be_recorded_is_told_what_to_do(kind, words):
    model = kind()
    before = {name: tensor.clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    state = torch.get_rng_state()
    with pytest.raises(UserError, match=rf"{words}.*; give it a method represent\(images\)") as caught:
        tap(model, ["conv"])
    assert "\n" not in str(caught.value)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_state(dict((*model.named_parameters(), *model.named_buffers())), before)


@pytest.mark.parametrize("stages", [{"layer1": "a", "layer2": "a"}, {"layer1": "logits"}, ["layer1", "layer1"]])
def test_stages_need_names_of_their_own(stages):
    with pytest.raises(UserError, match="each stage needs a name of its own other than logits"):
        tap(resnet18(), stages)


def test_a_wrong_number_of_classes_is_noticed():
    assert tap(resnet18(), STAGES, num_classes=10).num_classes == 10
    with pytest.raises(UserError, match="ResNet gives 10 logits, not 100; change its last layer"):
        tap(resnet18(), STAGES, num_classes=100)


def test_a_network_of_one_input_size_asks_for_it():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    assert tap(model, image_size=8).channels == {"pooled": 192}
    with pytest.raises(UserError, match=r"Sequential cannot take images of 3×32×32 \(.+\); give tap its image_size"):
        tap(model)
