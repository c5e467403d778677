import shutil
from types import SimpleNamespace

import pytest
import torch

from ignite_kd import models
from ignite_kd.concepts.candidates import candidates_of
from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.desk import Asked, Desk, StoppedError
from ignite_kd.concepts.entropy import entropy_maps
from ignite_kd.concepts.subject import Subject
from ignite_kd.concepts.survey import image_seed
from ignite_kd.handlers.stopping import Stopping

CONSTANTS = Constants(grid=4, samples=8)


@pytest.fixture
def desk_of(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "run")

    def build(stopping=None, **asked):
        subject = Subject(folder)
        asked = Asked(**{"engine": "linear", "probes": 4, "grid": 4, "part": "test", "device": "cpu"} | asked)
        candidates = candidates_of(subject.run, asked.part, 6, asked.seed)
        return Desk("run", subject, subject.network(10, 32), candidates, asked, CONSTANTS, stopping)

    return build


def entropies(desk, names, epoch, seed=0, engine="linear"):
    desk.subject.load(desk.network, epoch)
    settings = {"constants": CONSTANTS, "engine": engine, "probes": 4, "seed": seed}
    seeds = [image_seed(name) for name in names]
    return entropy_maps(desk.network, "pooled", desk.images(names), seeds=seeds, **settings)


def test_other_noises_are_those_of_the_next_seeds_and_the_usual_one_comes_last(desk_of):
    desk = desk_of()
    names = desk.candidates.names[:3]
    found = desk.noisy(names)
    for place, seed in enumerate((2, 1, 0)):
        expected = entropies(desk, names, 3, seed).entropies
        torch.testing.assert_close(found[:, place], expected, rtol=0, atol=1e-5, equal_nan=True)
    assert not torch.equal(found[:, 0], found[:, 2])


def test_the_deviation_is_measured_on_a_few_images(desk_of):
    desk = desk_of()
    names = desk.candidates.names
    words = desk.deviation(names)
    one, other = (entropies(desk, names[:4], 3, engine=engine) for engine in ("linear", "sampled"))
    both = (one.status == 0) & (other.status == 0)
    apart = (one.entropies - other.entropies)[both].abs().mean()
    assert words.startswith(f"{apart:.4f} nats a cell") and f"over {both.sum()} images of run's last" in words


def test_what_decides_a_map_decides_where_it_is_kept(desk_of):
    places = {
        desk.store().path
        for desk in (
            desk_of(), desk_of(images=3, margin=0.1, masks="box"), desk_of(seed=1), desk_of(engine="sampled"),
            desk_of(probes=5), desk_of(layer="logits"),
        )
    }  # fmt: skip
    assert len(places) == 5 and all(place.parent.name == "concepts" for place in places)


def test_a_layer_with_a_weight_of_its_own_is_its_distance(desk_of):
    name = desk_of().subject.weights[-1]
    assert desk_of(layer=name.removesuffix(".weight")).moving() == (name, False)
    before_logits = desk_of(layer="pooled").moving()
    assert before_logits == (desk_of().subject.weights[-2], True)
    desk = desk_of()
    (desk.subject.history.folder / "history" / "weight-path.pt").unlink()
    assert desk.moving() is None


@pytest.mark.parametrize(
    ("layer", "weight"),
    [("conv", "extra.3"), ("fc1", "mlp.0"), ("fc2", "mlp.3"), ("fc3", "mlp.6"), ("mlp.3", "mlp.3")],
)
def test_the_distance_of_the_studys_layers_is_that_of_their_own_weight(desk_of, layer, weight):
    """As in the released code: the diagnosed layer alone (concepts.md, 2.2 and 3.1)."""
    desk = desk_of(layer=layer)
    with torch.device("meta"):
        desk.network = models.build("resnet18_fc3", 4)
    desk.subject = SimpleNamespace(weights=[name for name, w in desk.network.named_parameters() if w.dim() > 1])
    assert desk.moving() == (f"{weight}.weight", False)


def test_it_stops_before_the_first_block(desk_of):
    desk = desk_of(Stopping(1e-9))
    with pytest.raises(StoppedError):
        desk.last(desk.candidates.names)


@pytest.mark.parametrize("layer", ["pooled", "hidden2.0"])
def test_it_stops_within_a_block_and_leaves_the_network_as_it_was(desk_of, layer):
    """The forty steps of a large network's images take minutes."""
    asked = iter([False] * 5 + [True] * 100)
    desk = desk_of(SimpleNamespace(asked=lambda: next(asked)), layer=layer)
    desk.subject.load(desk.network, 3)
    with pytest.raises(StoppedError):
        desk.deviation(desk.candidates.names)
    assert next(asked) and len(list(asked)) == 98  # the sixth question was the last
    assert not any(module._forward_pre_hooks for module in desk.network.modules())
    assert all(parameter.requires_grad for parameter in desk.network.parameters())


def test_no_deviation_is_measured_where_nobody_asks(desk_of):
    assert desk_of(check=0).deviation(["none is looked at"]) is None
    assert desk_of(engine="sampled").deviation(["none is looked at"]) is None


def test_a_deviation_that_nobody_can_measure_is_no_number(desk_of):
    desk = desk_of()
    desk.constants = Constants(grid=4, samples=8, threshold=3.0)
    words = desk.deviation(desk.candidates.names[:2])
    assert "nan" not in words and "none of 2 images" in words
