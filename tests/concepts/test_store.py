import os

import pytest
import torch

from ignite_kd.concepts.store import Store
from ignite_kd.concepts.trajectory import EntropyMaps, Status
from ignite_kd.errors import UserError

MADE = {"network": "resnet8", "layer": "layer1", "constants": {"grid": 2, "entropy_weight": 6.0}}
WEIGHTS = {0: "aa", 5: "bb"}


def store(path, made=MADE, weights=WEIGHTS, names=("one", "two"), notes=None):
    return Store(path, made, weights, names, grid=2, steps=3, notes=notes)


def maps(*numbers, status=Status.OK):
    entropies = torch.stack([torch.full((2, 2), float(n)) for n in numbers])
    each = torch.tensor(numbers).float()
    return EntropyMaps(
        entropies, each, each[:, None].repeat(1, 3), each[:, None].repeat(1, 3),
        torch.full((len(numbers),), status, dtype=torch.int8),
    )  # fmt: skip


def test_what_was_written_is_there_again_and_is_not_missing(tmp_path):
    first = store(tmp_path / "maps.pt")
    first.put(5, ["two"], maps(1.5, status=Status.NEVER))
    again = store(tmp_path / "maps.pt")
    assert again.missing(5, ["one", "two"]) == ["one"] and again.missing(0, ["two"]) == ["two"]
    found = again.get(5, ["two"])
    for part in ("entropies", "steps", "traces", "losses", "status"):
        assert torch.equal(getattr(found, part), getattr(maps(1.5, status=Status.NEVER), part)), part
    with pytest.raises(UserError, match="no map of one at epoch 5 yet"):
        again.get(5, ["two", "one"])


def test_the_order_of_images_and_epochs_is_the_askers(tmp_path):
    found = store(tmp_path / "maps.pt")
    found.put(0, ["one", "two"], maps(1, 2))
    found.put(5, ["two", "one"], maps(4, 3))
    assert found.entropies(["two", "one"])[:, :, 0, 0].tolist() == [[2, 4], [1, 3]]
    assert found.entropies(["one"], [5, 0])[:, :, 0, 0].tolist() == [[3, 1]]


def test_more_images_and_epochs_join_those_that_are_there(tmp_path):
    store(tmp_path / "maps.pt", notes={"masks": torch.ones(2), "words": "a"}).put(5, ["one", "two"], maps(1, 2))
    wider = store(tmp_path / "maps.pt", weights={2: "cc", 5: "bb"}, names=["three", "two"], notes={"words": "b"})
    assert wider.names == ["one", "two", "three"] and wider.epochs == [0, 2, 5]
    assert wider.get(5, ["two"]).steps.tolist() == [2]
    assert wider.missing(5, wider.names) == ["three"] and wider.missing(2, ["two"]) == ["two"]
    assert wider.notes["words"] == "b" and torch.equal(wider.notes["masks"], torch.ones(2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"made": MADE | {"network": "wrn_10_1"}}, "network was 'resnet8' and is 'wrn_10_1'"),
        ({"made": MADE | {"constants": {"grid": 2, "entropy_weight": 7.0}}}, "constants.entropy_weight was 6.0 and is"),
        ({"weights": {0: "aa", 5: "xx"}}, "the weights of epoch 5 are others"),
    ],
)
def test_maps_that_were_made_otherwise_are_refused_in_one_line(tmp_path, change, words):
    store(tmp_path / "maps.pt").put(5, ["one"], maps(1))
    content = (tmp_path / "maps.pt").read_bytes()
    with pytest.raises(UserError, match=words) as caught:
        store(tmp_path / "maps.pt", **change)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "maps.pt").read_bytes() == content


def test_a_kill_while_writing_leaves_what_was_there(tmp_path, monkeypatch):
    growing = store(tmp_path / "maps.pt")
    growing.put(5, ["one"], maps(1))

    def kill(*names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", kill)
        with pytest.raises(KeyboardInterrupt):
            growing.put(5, ["two"], maps(2))
    again = store(tmp_path / "maps.pt")
    assert again.missing(5, ["one", "two"]) == ["two"]


def test_a_foreign_or_torn_file_is_refused(tmp_path):
    store(tmp_path / "maps.pt").put(5, ["one"], maps(1))
    whole = (tmp_path / "maps.pt").read_bytes()
    torch.save({"weights": torch.ones(2)}, tmp_path / "foreign.pt")
    for content in (whole[: len(whole) // 2], b"", (tmp_path / "foreign.pt").read_bytes()):
        (tmp_path / "maps.pt").write_bytes(content)
        with pytest.raises(UserError, match="damaged, or no file of entropy maps"):
            store(tmp_path / "maps.pt")
    with pytest.raises(UserError, match="two images have one name"):
        store(tmp_path / "other.pt", names=["one", "one"])


def test_a_file_opens_without_its_description(tmp_path):
    store(tmp_path / "maps.pt", notes={"kept": ["two"]}).put(5, ["two"], maps(1.5))
    found = Store.there(tmp_path / "maps.pt")
    assert (found.made, found.epochs, found.names, found.notes) == (MADE, [0, 5], ["one", "two"], {"kept": ["two"]})
    assert found.get(5, ["two"]).steps.tolist() == [1.5] and found.missing(0, ["one"]) == ["one"]


def test_parts_of_another_size_are_damage(tmp_path):
    store(tmp_path / "maps.pt").put(5, ["two"], maps(1.5))
    content = torch.load(tmp_path / "maps.pt", weights_only=True)
    content["parts"]["status"] = content["parts"]["status"][:1]
    torch.save(content, tmp_path / "maps.pt")
    with pytest.raises(UserError, match="is damaged, or no file of entropy maps"):
        store(tmp_path / "maps.pt")
