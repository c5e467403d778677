import json
import shutil

import pytest
import torch
from torch.testing import assert_close

from ignite_kd.concepts.history import History
from ignite_kd.errors import UserError


def kept(run_folder, epoch):
    return torch.load(run_folder / "history" / f"epoch-{epoch:04d}.th", weights_only=True)


def test_the_weights_of_an_epoch_go_into_the_network_that_was_trained(run_folder):
    history = History(run_folder)
    assert history.epochs == [0, 1, 3] and history.plan["student"] == "mlp_8"
    network = history.network()
    for epoch in (3, 0):
        history.load(network, epoch)
        assert all(torch.equal(t, kept(run_folder, epoch)[name]) for name, t in network.state_dict().items())
    assert len({history.digest(epoch) for epoch in history.epochs}) == 3


def test_the_way_of_the_weights_in_both_countings(run_folder):
    history = History(run_folder)
    name, *_ = history.layers()
    before, after = (kept(run_folder, epoch)[name].double() for epoch in (0, 1))
    led = (after - before).norm() / before.norm()
    over_epochs = history.path(name.removesuffix(".weight"), "epochs")
    assert len(over_epochs) == 3 and over_epochs[0].item() == pytest.approx(led.item(), rel=1e-5)
    steps = history.path(name)
    assert (steps > over_epochs).all()  # two steps an epoch, in different directions
    assert_close(history.path(name, up_to=True), steps)  # nothing comes before the first one


def test_all_weights_up_to_one_are_one_vector(run_folder):
    history = History(run_folder)
    both = history.layers()[:2]
    states = [kept(run_folder, epoch) for epoch in (0, 1)]
    one, other = (torch.cat([state[name].double().flatten() for name in both]) for state in states)
    wanted = ((other - one).norm() / one.norm()).item()
    assert history.path(both[1], "epochs", up_to=True)[0].item() == pytest.approx(wanted, rel=1e-5)


def test_what_is_not_there_is_said(run_folder, tmp_path):
    history = History(run_folder)
    with pytest.raises(UserError, match="did not keep epoch 2; it kept 0, 1, 3"):
        history.file(2)
    with pytest.raises(UserError, match="unknown weight 'fcc'"):
        history.path("fcc")
    with pytest.raises(UserError, match="did you mean 'steps'"):
        history.path(history.layers()[0], "step")
    with pytest.raises(UserError, match="is no run's folder"):
        History(tmp_path)
    without = shutil.copytree(run_folder, tmp_path / "without")
    (without / "history" / "weight-path.pt").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"weight-path.pt is missing or damaged"):
        History(without).layers()
    shutil.rmtree(without / "history")
    with pytest.raises(UserError, match="kept no epochs; train it again with --keep-epochs"):
        History(without)
    for record in ("[]", '{"plan": 5, "data": {}}', '{"plan": {}, "data": null}'):
        (without / "run.json").write_text(record)
        with pytest.raises(UserError, match="is no run's folder"):
            History(without)


def test_weights_of_another_network_are_refused(run_folder, tmp_path):
    other = shutil.copytree(run_folder, tmp_path / "other")
    record = json.loads((other / "run.json").read_text())
    record["plan"]["student"] = "mlp_16"
    (other / "run.json").write_text(json.dumps(record))
    history = History(other)
    with pytest.raises(UserError, match="looks like mlp_8") as caught:
        history.load(history.network(), 3)
    assert "\n" not in str(caught.value)
