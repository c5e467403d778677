import pytest
import torch

from ignite_kd import data
from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.entropy import entropy_maps
from ignite_kd.concepts.history import History
from ignite_kd.concepts.masks import masks_on_grid
from ignite_kd.concepts.selection import KEPT
from ignite_kd.concepts.store import Store
from ignite_kd.concepts.survey import describe, image_seed, measure_with, survey

CONSTANTS = Constants(grid=8, samples=8)
NAMES = [f"test-{i}" for i in range(6)]


@pytest.fixture(scope="module")
def shapes():
    return data.load("shapes").test


@pytest.fixture
def setting(run_folder, shapes, tmp_path):
    """(history, network, images by name, masks, open the store)."""
    history = History(run_folder)
    normalised = data.normalise(shapes.images[:6], (0.5,) * 3, (0.277,) * 3)

    def open_store(engine="linear"):
        made = describe("mlp_8", "pooled", CONSTANTS, engine, 0, 16, digest="d")
        weights = {epoch: history.digest(epoch) for epoch in history.epochs}
        return Store(tmp_path / f"{engine}.pt", made, weights, NAMES, 8, CONSTANTS.steps)

    images = lambda names: normalised[[NAMES.index(name) for name in names]]  # noqa: E731
    return history, history.network(), images, masks_on_grid(shapes.masks[:6], 8, "any"), open_store


@pytest.mark.parametrize("engine", ["linear", "sampled"])
def test_the_store_is_filled_with_what_each_image_has_alone(setting, engine):
    history, network, images, _, open_store = setting
    settings = {"engine": engine, "constants": CONSTANTS, "probes": 16}
    store = open_store(engine)
    names = NAMES[:2]
    fates = survey(history, network, store, measure_with("pooled", **settings), images, names)
    assert set(fates.values()) <= {KEPT, "the feature does not move"}
    for name in (name for name in names if fates[name] == KEPT):
        for epoch in (0, 3):
            history.load(network, epoch)
            alone = entropy_maps(network, "pooled", images([name]), seeds=[image_seed(name)], **settings)
            found = store.get(epoch, [name])
            torch.testing.assert_close(found.entropies, alone.entropies, rtol=0, atol=1e-3)


def test_a_survey_that_was_killed_computes_only_what_is_left(setting):
    history, network, images, masks, open_store = setting
    measure = measure_with("pooled", engine="linear", constants=CONSTANTS, probes=16)
    asked = []

    def watched(net, batch, seeds):
        if len(asked) == 4:
            raise KeyboardInterrupt
        asked.append(list(seeds))
        return measure(net, batch, seeds)

    everything = {"block": 2, "from_epoch": 99}  # nobody is dropped but the silent
    with pytest.raises(KeyboardInterrupt):
        survey(history, network, open_store(), watched, images, NAMES, masks, **everything)
    done = open_store()
    left = {(epoch, name) for epoch in history.epochs for name in done.missing(epoch, NAMES)}
    again = []

    def rest(net, batch, seeds):
        again.extend(seeds)
        return measure(net, batch, seeds)

    fates = survey(history, network, open_store(), rest, images, NAMES, masks, **everything)
    whole = survey(history, network, open_store(), rest, images, NAMES, masks, **everything)
    assert whole == fates and list(fates) == NAMES
    dropped = {name for name, fate in fates.items() if fate != KEPT}
    assert len(again) <= len(left) and len(again) >= len(left) - 2 * len(dropped)
    assert sum(map(len, asked)) + len(left) == 18 and left


def test_the_last_checkpoint_drops_images_that_the_earlier_ones_are_then_spared(setting):
    history, network, images, (foreground, background), open_store = setting
    store = open_store()
    computed = []

    def made_up(net, batch, seeds):
        computed.append(len(batch))
        maps = entropy_maps(net, "pooled", batch, engine="linear", constants=CONSTANTS, probes=4, seeds=seeds)
        maps.status.zero_()
        for i, seed in enumerate(seeds):  # the first, third and fifth lose their ground, the others their object
            row = [image_seed(name) for name in NAMES].index(seed)
            maps.entropies[i] = torch.where(foreground[row] == (row % 2 == 0), -3.0, -2.0)
        return maps

    said = []
    fates = survey(
        history, network, store, made_up, images, NAMES, (foreground, background), wanted=2, block=4, from_epoch=2,
        say=said.append,
    )  # fmt: skip
    assert computed == [4, 2, 2]  # at epoch 3 all four, at 1 and 0 the two that were left; the second block never
    assert list(fates) == NAMES[:3] and [fates[name] == KEPT for name in fates] == [True, False, True]
    assert said[0] == "epoch 3: 2 of candidates 1 to 4 left"


def test_an_images_noise_is_its_names():
    assert image_seed("a") == image_seed("a") and len({image_seed(name) for name in ("a", "b", "ab", "ba")}) == 4


def test_the_description_holds_what_decides_a_map_and_no_more():
    sampled, linear = (describe("n", "l", Constants(), engine, 0, 64, digest="x") for engine in ("sampled", "linear"))
    assert "probes" not in sampled and sampled["constants"]["samples"] == 96
    assert linear["probes"] == 64 and linear["constants"]["samples"] is None
