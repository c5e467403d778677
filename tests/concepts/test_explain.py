import json
import shutil
from importlib import import_module

import pytest
import torch

from ignite_kd import data
from ignite_kd.concepts import desk as desk_module
from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.desk import Asked, StoppedError
from ignite_kd.concepts.entropy import entropy_maps
from ignite_kd.concepts.explain import explain
from ignite_kd.concepts.history import History
from ignite_kd.concepts.masks import masks_on_grid
from ignite_kd.concepts.survey import image_seed
from ignite_kd.errors import UserError
from ignite_kd.run_folder import lock

SMALL = {"engine": "linear", "probes": 8, "grid": 4, "images": 5, "candidates": 30, "part": "test", "device": "cpu"}


@pytest.fixture
def runs(run_folder, tmp_path):
    """Two runs; the other one's weights are the first's in another order of epochs, its seed another."""
    one, other = (str(shutil.copytree(run_folder, tmp_path / name)) for name in ("one", "other"))
    history = tmp_path / "other" / "history"
    (history / "epoch-0001.th").write_bytes((history / "epoch-0003.th").read_bytes())
    return [one, other]


@pytest.fixture
def measured(monkeypatch):
    """Counts the maps that are computed; may be told to fail."""
    counted = []

    def measure_with(layer, **settings):
        def measure(network, images, seeds):
            if len(counted) >= measured.stop_after:
                raise KeyboardInterrupt
            counted.extend(seeds)
            return entropy_maps(network, layer, images, seeds=seeds, **settings)

        return measure

    def measured():
        return len(counted)

    measured.stop_after = 10**9
    monkeypatch.setattr(desk_module, "measure_with", measure_with)
    return measured


def explained(paths, resamples=5, **asked):
    return explain(paths, Asked(**SMALL | asked), resamples=resamples)


def test_the_maps_are_what_each_checkpoint_gives_on_images_that_all_kept(runs):
    found = explained(runs)
    shapes = data.load("shapes")
    one, other = found.networks
    places = [int(name.removeprefix("test-")) for name in found.names]
    assert len(places) == 5 and torch.equal(found.images, shapes.test.images[places])
    foreground, _ = masks_on_grid(shapes.test.masks[places], 4, "half")
    assert torch.equal(found.foreground, foreground)
    history = History(runs[0])
    network = history.network()
    normalised = data.normalise(found.images, shapes.mean, shapes.std)
    for t, epoch in enumerate([0, 1, 3]):
        history.load(network, epoch)
        seeds = [image_seed(name) for name in found.names]
        maps = entropy_maps(
            network, "pooled", normalised, engine="linear", probes=8, constants=Constants(grid=4), seeds=seeds
        )
        torch.testing.assert_close(one.maps[:, t], maps.entropies, rtol=0, atol=1e-5)
    # the same noise for all: equal weights give equal maps
    torch.testing.assert_close(other.maps[:, 1], one.maps[:, 2], rtol=0, atol=1e-5)
    gap = (maps.entropies * ~foreground).sum((1, 2)) / (~foreground).sum((1, 2))
    gap -= (maps.entropies * foreground).sum((1, 2)) / foreground.sum((1, 2))
    assert (gap >= 0).all()  # nothing else is kept, though the training ended long before epoch 40
    assert one.about["distance of"].startswith("all weights up to")
    assert "nats a cell" in found.deviation and 0 < explained(runs, margin=0.01, probes=4).noise < 1  # 8 would be exact
    assert found.settings["data"]["dataset"] == "shapes" and set(found.differences) >= {"other: N_fg", "other: rho"}
    json.dumps(found.settings)


def test_nothing_is_computed_twice(runs, measured):
    first = explained(runs[:1])
    once = measured()
    again = explained(runs[:1], margin=0.1)
    assert measured() == once and again.names == first.names
    explained(runs[1:])
    alone = measured() - once
    both = explained(runs)
    assert measured() - once - alone < once  # only images that one of them was not asked about
    assert len(both.names) == 5


def test_a_kill_costs_what_was_under_way(runs, measured):
    whole = explained(runs)
    total = measured()
    for run in runs:
        shutil.rmtree(f"{run}/concepts")
    measured.stop_after = total + total // 2
    with pytest.raises(KeyboardInterrupt):
        explained(runs)
    before = measured()
    measured.stop_after = 10**9
    again = explained(runs)
    assert measured() - total == total and before > total
    assert again.names == whole.names and again.differences == whole.differences
    for one, other in zip(whole.networks, again.networks, strict=True):
        assert torch.equal(one.maps, other.maps) and one.fates == other.fates


def test_a_rule_chooses_the_margin_on_the_first_network(runs):
    chosen = {rule: explained(runs, margin=rule) for rule in ("otsu", "null-quantile", "physical")}
    assert len({found.margin for found in chosen.values()}) > 1
    assert all(found.margin_rule.startswith(rule) for rule, found in chosen.items())
    assert explained(runs, margin=0.3).margin == 0.3


def test_fewer_checkpoints_and_no_masks(runs):
    found = explained(runs, epochs=(0, 3), masks="none")
    assert [one.epochs for one in found.networks] == [[0, 3]] * 2 and found.foreground is None
    assert found.networks[0].foreground is None and found.networks[0].total.shape == (5, 2)


def test_images_with_little_object_are_not_taken(runs):
    """Of four cells of object and of ground, the mean of fewer being chance."""
    found = explained(runs, masks="interior", grid=8, images=30)
    masks = data.load("shapes").test.masks
    on, off = masks_on_grid(masks[[int(name.removeprefix("test-")) for name in found.names]], 8, "interior")
    assert torch.equal(found.foreground, on) and torch.equal(found.background, off)
    assert on.sum((1, 2)).min() >= 4 and off.sum((1, 2)).min() >= 4
    assert found.networks[0].fates["object or ground without enough cells"] > 0
    assert (found.networks[0].total >= found.networks[0].foreground + found.networks[0].background).all()


def test_weights_alone_and_seeds_of_one_method(runs, tmp_path):
    shutil.rmtree(f"{runs[1]}/history")
    record = json.loads((tmp_path / "other" / "run.json").read_text())
    record["identity"]["seed"] = 5
    (tmp_path / "other" / "run.json").write_text(json.dumps(record))
    found = explained(runs)
    assert found.networks[1].epochs == [3] and found.networks[1].speed is None
    assert (
        "other: no history, so its last weights alone are looked at (train with --keep-epochs for more)" in found.notes
    )
    assert found.groups == {"one and its seeds": ["one", "other"]}


def test_fewer_images_than_asked_are_told_and_none_is_an_error(runs, monkeypatch):
    found = explained(runs, candidates=4, images=20)
    assert 0 < len(found.names) < 5
    assert any("images instead of 20" in note for note in found.notes)
    assert sum(found.networks[0].fates.values()) == 4
    judge = lambda found, *_: ["the feature does not move"] * len(found)  # noqa: E731
    monkeypatch.setattr(import_module("ignite_kd.concepts.survey"), "judge", judge)
    with pytest.raises(UserError, match=r"none of 4 images .*one: 4 the feature does not move"):
        explained(runs, candidates=4)


def test_sigma_that_never_reached_the_threshold_is_told(runs, monkeypatch):
    monkeypatch.setattr(Constants, "theta", property(lambda constants: 1.0))
    found = explained(runs[:1])
    assert found.networks[0].never == 15
    assert any("sigma never reached the threshold in 15 of 15 maps" in note for note in found.notes)


def test_two_do_not_write_at_once_and_a_stop_is_no_error(runs, tmp_path):
    (tmp_path / "one" / "concepts").mkdir()
    with lock(tmp_path / "one" / "concepts"):
        with pytest.raises(UserError, match=r"another process is explaining .*one/concepts"):
            explained(runs)

    class Now:
        def asked(self):
            return True

    with pytest.raises(StoppedError):
        explain(runs, Asked(**SMALL), stopping=Now())


def test_what_cannot_be_asked_is_said_first(runs, tmp_path):
    with pytest.raises(UserError, match=r"unknown layer of mlp_8 'layer9'.*possible: .*pooled") as caught:
        explained(runs, layer="layer9")
    assert not (tmp_path / "one" / "concepts").exists() and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="named twice"):
        explained([runs[0], f"{runs[0]}/"])
    with pytest.raises(UserError, match="did you mean 'linear'"):
        explained(runs, engine="linaer")
    with pytest.raises(UserError, match="--margin null looks at the ground"):
        explained(runs, margin="null-quantile", masks="none")
    with pytest.raises(UserError, match="did not keep epoch 2"):
        explained(runs, epochs=(0, 2))


def test_a_lost_path_of_the_weights_is_told(runs, tmp_path):
    (tmp_path / "other" / "history" / "weight-path.pt").write_bytes(b"torn")
    found = explained(runs)
    assert [one.speed is None for one in found.networks] == [False, True]
    assert "other: history/weight-path.pt is missing or damaged, so D is not known" in found.notes
