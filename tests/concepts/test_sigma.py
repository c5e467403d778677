import shutil

import pytest
import torch

from ignite_kd.concepts import desk
from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.desk import Asked, StoppedError
from ignite_kd.concepts.metrics import distances_at
from ignite_kd.concepts.selection import FROM_EPOCH
from ignite_kd.concepts.sigma import read_sigma, train_sigma
from ignite_kd.concepts.store import Store
from ignite_kd.errors import UserError

ASKED = Asked(engine="linear", probes=4, images=4, candidates=15, masks="published", device="cpu")
CONSTANTS = Constants(grid=4, samples=8)


@pytest.fixture
def root(run_folder, tmp_path):
    return str(shutil.copytree(run_folder, tmp_path / "run"))


def left(root, folder, **more):
    return train_sigma(root, folder, ASKED, lambda network: CONSTANTS, **more)


def names_in(folder, kind):
    return (folder / f"{kind}_name_list.txt").read_text().split()


def test_what_is_left_can_be_read_again(root, tmp_path):
    counted = left(root, tmp_path / "maps")
    found = read_sigma(tmp_path / "maps", "--label-sigma-root")
    assert counted["kept"] == 4 == len(found.kept) and found.kept == names_in(tmp_path / "maps", "effect")
    full, dropped = (names_in(tmp_path / "maps", kind) for kind in ("full", "non_effect"))
    assert len(full) == 15 and not set(dropped) & set(found.kept) and len(dropped) == sum(counted.values()) - 4
    some = found.kept[2:0:-1]
    one = found.measured("one", some)
    assert one.epochs == [0, 1, 3] and one.maps.shape == (2, 3, 4, 4) and one.maps.isfinite().all()
    assert torch.equal(one.maps[:, 1], found.store.get(1, some).entropies)
    masks = found.masks(some)
    assert torch.equal(masks[0], ~masks[1]) and found.pictures(some).shape == (2, 3, 32, 32)
    path = torch.load(f"{root}/history/weight-path.pt", weights_only=True)
    last = path["layers"].index(found.notes["weight"])
    expected = distances_at(path["path"][:, 0, 1, last] / path["initial"][1, last], [0, 1, 3])
    assert torch.equal(one.distances, expected) and found.threshold == -2.8


def test_the_runs_weights_may_lie_elsewhere_by_now_or_tell_no_distance(root, tmp_path):
    left(root, tmp_path / "maps")
    moved = shutil.move(root, tmp_path / "moved")
    found = read_sigma(tmp_path / "maps", "")
    assert found.measured("one", found.kept, str(moved)).distances is not None
    with pytest.raises(UserError, match="cannot read"):
        found.measured("one", found.kept)
    (tmp_path / "moved" / "history" / "weight-path.pt").unlink()
    assert found.measured("one", found.kept, str(moved)).distances is None


def test_repetitions_have_other_noise(root, tmp_path):
    left(root, tmp_path / "maps", iterations=2)
    one, other = (Store.there(tmp_path / "maps" / name) for name in ("maps.pt", "maps-1.pt"))
    both = [n for n in one.names if not one.missing(3, [n]) and not other.missing(3, [n])]
    assert both and not torch.equal(one.get(3, both).entropies, other.get(3, both).entropies)
    assert (one.made["seed"], other.made["seed"]) == (0, 1)


def test_images_need_not_be_picked(root, tmp_path):
    """Three epochs are less than 40, so the last checkpoint is asked for the object, unless nothing is."""
    assert FROM_EPOCH > 3
    picked = left(root, tmp_path / "picked")
    every = left(root, tmp_path / "every", pick=False)
    assert "the object is discarded more than the ground" in picked
    assert "the object is discarded more than the ground" not in every


def test_another_run_than_was_named_is_refused(root, tmp_path):
    left(root, tmp_path / "maps", expected={"model": ("mlp_8", "mlp_8_fc3"), "classes": (10,), "dataset": ("shapes",)})
    with pytest.raises(UserError, match=r"--model vgg16 was given, but .*run has mlp_8"):
        left(root, tmp_path / "maps", expected={"model": ("vgg16", "vgg16_fc3")})
    with pytest.raises(UserError, match=r"--classes 200 was given, but .* has 10"):
        left(root, tmp_path / "maps", expected={"classes": (200,)})


def test_what_is_missing_or_torn_is_said(root, tmp_path):
    with pytest.raises(UserError, match=r"--distil-sigma-root .* has no maps.pt"):
        read_sigma(tmp_path, "--distil-sigma-root")
    left(root, tmp_path / "maps")
    store = Store.there(tmp_path / "maps" / "maps.pt")
    store.notes = {}
    store.save()
    with pytest.raises(UserError, match="is not complete; let train-sigma go on"):
        read_sigma(tmp_path / "maps", "")


def test_what_another_choice_left_is_not_taken_for_the_one_under_way(root, tmp_path):
    class Stop:
        def asked(self):
            return True

    left(root, tmp_path / "maps")
    before = Store.there(tmp_path / "maps" / "maps.pt")
    with pytest.raises(StoppedError):
        left(root, tmp_path / "maps", pick=False, stopping=Stop())
    with pytest.raises(UserError, match="is not complete; let train-sigma go on"):
        read_sigma(tmp_path / "maps", "")
    left(root, tmp_path / "maps")
    again = read_sigma(tmp_path / "maps", "")
    assert again.kept == before.notes["kept"]
    assert torch.equal(again.store.get(3, again.kept).entropies, before.get(3, again.kept).entropies)


def test_the_deviation_counts_concepts_from_the_ground_as_the_study_does(root, tmp_path, monkeypatch):
    seen = []
    plain = desk.deviation
    monkeypatch.setattr(desk, "deviation", lambda *given: seen.append(given[2]) or plain(*given))
    left(root, tmp_path / "maps")
    found = read_sigma(tmp_path / "maps", "")
    assert torch.equal(seen[0], found.masks(found.kept)[1])


def test_another_runs_weights_tell_no_distance_of_these_maps(root, tmp_path):
    left(root, tmp_path / "maps")
    other = tmp_path / "run" / "history"
    (other / "epoch-0001.th").write_bytes((other / "epoch-0003.th").read_bytes())
    found = read_sigma(tmp_path / "maps", "")
    with pytest.raises(UserError, match=r"the weights in .*run are not those of the maps in .*maps; name their run"):
        found.measured("one", found.kept)


def test_a_threshold_that_is_never_reached_is_said(root, tmp_path):
    said = []
    train_sigma(root, tmp_path / "maps", ASKED, lambda _: Constants(grid=4, samples=8, threshold=3.0), say=said.append)
    assert "sigma never reached the threshold in 12 of 12 maps" in said
    assert said[-2:] == [
        "the last checkpoint by the sampled engine: 4 images",
        "deviation of the linear engine: not known: in none of 4 images both reached the threshold",
    ]
    found = read_sigma(tmp_path / "maps", "")
    assert found.measured("one", found.kept).never == 12
