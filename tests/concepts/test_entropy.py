import pytest
import torch
from torch import nn

from ignite_kd.concepts import entropy
from ignite_kd.concepts.constants import SOURCES, Constants
from ignite_kd.concepts.entropy import ENGINES, deviation, entropy_maps
from ignite_kd.concepts.trajectory import EntropyMaps, Status
from ignite_kd.errors import UserError

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SMALL = Constants(grid=4, samples=24)


@pytest.fixture
def network():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 16, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(12), nn.ReLU(), second, nn.Flatten(), nn.Linear(256, 20)).double()


@pytest.mark.parametrize("layer", ["0", "3", "5"])
def test_the_engines_agree_as_far_as_their_noise_lets_them(network, layer):
    maps = {engine: entropy_maps(network, layer, IMAGES, engine=engine, constants=SMALL) for engine in ENGINES}
    assert all((found.status == Status.OK).all() for found in maps.values())
    apart = deviation(maps["linear"], maps["sampled"])
    other_noise = deviation(entropy_maps(network, layer, IMAGES, constants=SMALL, seed=1), maps["sampled"])
    assert apart.mean < 0.06 and abs(apart.bias) < 0.02 and apart.images == 3
    assert other_noise.mean < 0.06
    assert deviation(maps["closed-form"], maps["linear"]).worst < 0.01


@pytest.mark.parametrize(("edge", "images"), [(32, 4), (64, 4), (90, 2), (224, 1)])
def test_large_images_go_through_one_by_one(network, edge, images, monkeypatch):
    asked = []
    monkeypatch.setattr(entropy, "sampled_maps", lambda *given: asked.append(given[-1]))
    entropy_maps(network, "0", torch.zeros(1, 3, edge, edge))
    assert asked == [images]


def test_the_network_is_left_as_it_was(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    entropy_maps(network.train(), "0", IMAGES, constants=SMALL)
    assert network.training and all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_map_is_the_images_own_whatever_the_batch(network):
    for engine in ENGINES:
        settings = {"engine": engine, "constants": SMALL, "probes": 16}
        together = entropy_maps(network, "3", IMAGES, seeds=[4, 8, 2], at_once=3, **settings)
        alone = entropy_maps(network, "3", IMAGES[1:2], seeds=[8], **settings)
        assert (together.entropies[1] - alone.entropies[0]).abs().max() < 1e-9


def test_the_weight_follows_the_networks_family():
    assert Constants.of("resnet8").entropy_weight == Constants.of("torchvision:resnet50").entropy_weight == 6
    assert Constants.of("vgg16").entropy_weight == Constants.of("alexnet").entropy_weight == 7
    assert Constants.of("wrn_16_1").entropy_weight == 7 and Constants.of("resnet8", 7.0).entropy_weight == 7


def test_the_published_constants():
    c = Constants()
    assert (c.grid, c.first_sigma, c.samples, c.steps, c.check_after, c.theta) == (16, 0.01, 96, 80, 60, -2.8)
    assert c.rate == pytest.approx(1e-4) and Constants(grid=8).rate == pytest.approx(2.5e-5)
    assert c.theta - c.start == pytest.approx(0.386232, abs=1e-6)
    assert Constants(first_sigma=0.0025).theta == pytest.approx(-2.8 - 1.3862944)
    assert set(SOURCES) == set(Constants.__dataclass_fields__)


def test_deviation_is_over_images_that_are_there_in_both():
    def maps(entropies, status):
        count = len(entropies)
        return EntropyMaps(
            torch.tensor(entropies).view(count, 2, 1), torch.zeros(count), torch.zeros(count, 1), torch.zeros(count, 1),
            torch.tensor(status, dtype=torch.int8),
        )  # fmt: skip

    one = maps([[1.0, 2.0], [5.0, 5.0]], [0, 1])
    other = maps([[1.5, 1.0], [0.0, 0.0]], [0, 0])
    found = deviation(one, other)
    assert (found.mean, found.worst, found.bias, found.spread, found.images) == (0.75, 1.0, 0.25, 0.25, 1)
    # the level of all cells is 1.5 and 1.25: the first cell is a concept by one alone, the second by the other alone
    assert (found.gained, found.lost) == (1, 1)
    ground = torch.tensor([[[False], [True]]] * 2)  # whose levels are 2 and 1
    assert deviation(one, other, ground)[-2:] == (1, 0) and deviation(one, other, ground, margin=1.5)[-2:] == (0, 0)
    assert deviation(maps([[1.0, 2.0]], [1]), maps([[1.0, 2.0]], [0])).images == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"engine": "lineal"}, "did you mean 'linear'"),
        ({"seeds": [1]}, "3 images need as many seeds, but 1"),
        ({"layer": "layer9"}, "unknown layer 'layer9'"),
        ({"constants": Constants(grid=32)}, "a grid of 32 cells is finer than images of 8 pixels"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(network, settings, words):
    settings = {"layer": "0", "constants": SMALL} | settings
    with pytest.raises(UserError, match=words) as caught:
        entropy_maps(network, settings.pop("layer"), IMAGES, **settings)
    assert "\n" not in str(caught.value)


def test_half_precision_and_no_images_are_refused(network):
    with pytest.raises(UserError, match="float32 or float64, not"):
        entropy_maps(network.bfloat16(), "0", IMAGES)
    with pytest.raises(UserError, match="no images"):
        entropy_maps(network, "0", IMAGES[:0])
    with pytest.raises(UserError, match="grid of the sigma maps should be positive"):
        Constants(grid=0)
