import dataclasses
import json

import pytest
import torch
from ignite.engine import Events

from ignite_kd import recipes
from ignite_kd.errors import UserError
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.terms import Term
from ignite_kd.trained import from_file, from_run
from ignite_kd.weights import read_card

PLAN = Plan(
    student="mlp_8",
    recipe=recipes.get("vid,batch_size=50,validation_images=100"),
    dataset="shapes",
    samples_per_class=20,
    max_epochs=3,
    terms=(Term("ce"),),
    device="cpu",
)


def train(folder, stop_at=None, **changes):
    plan = dataclasses.replace(PLAN, output_dir=str(folder / "run"), state_dict_path=str(folder / "net.th"), **changes)
    session = Session(plan)
    seen = []

    @session.student.on(Events.EPOCH_COMPLETED)
    def see(student):
        seen.append({name: tensor.clone() for name, tensor in student.model.state_dict().items()})
        if student.state.epoch == stop_at:
            student.terminate()

    session.run()
    session.close()
    return seen


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(folder)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_last_and_the_best_epoch_of_a_run(finished):
    folder, epochs = finished
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    accuracies = [line["validation/accuracy"] for line in lines]
    best = accuracies.index(max(accuracies)) + 1
    for which, epoch in (("last", 3), ("best", best)):
        found = from_run(folder / "run", which)
        assert same(dict(found.content.state), epochs[epoch - 1])
        assert (found.card["which"], found.card["epoch"]) == (which, epoch)
        assert same(found.build(10, 32)[0].state_dict(), epochs[epoch - 1])


def test_the_card_of_a_run_is_that_of_its_weights(finished):
    folder, _ = finished
    card, beside = from_run(folder / "run").card, read_card(folder / "net.th")
    assert {name: card[name] for name in beside if name != "sha256"} == {
        n: v for n, v in beside.items() if n != "sha256"
    }


def test_a_run_that_was_stopped_has_weights_but_no_results(tmp_path):
    epochs = train(tmp_path, stop_at=2)
    found = from_run(tmp_path / "run")
    assert same(dict(found.content.state), epochs[1])
    assert (found.card["epoch"], found.card["results"], found.card["status"]) == (2, {}, "stopped")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    accuracies = [line["validation/accuracy"] for line in lines]
    best = from_run(tmp_path / "run", "best").card
    assert (best["epoch"], best["results"]) == (1 + accuracies.index(max(accuracies)), {})


def test_what_is_no_run_is_said_in_one_line(tmp_path, finished):
    with pytest.raises(UserError, match=r"holds no run \(there is no run\.json\)"):
        from_run(tmp_path)
    for text, words in (("{", "is damaged"), ("[]", "holds no run"), ('{"plan": 3}', "is no run's record")):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(UserError, match=words):
            from_run(tmp_path)
    (tmp_path / "run.json").write_bytes((finished[0] / "run" / "run.json").read_bytes())
    with pytest.raises(UserError, match=r"the checkpoints of .* are gone; export .*net\.th instead"):
        from_run(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(record | {"status": "running"}))
    with pytest.raises(UserError, match="holds no weights yet"):
        from_run(tmp_path)
    with pytest.raises(UserError, match=r"has no best epoch.*take --which last"):
        from_run(tmp_path, "best")
    (tmp_path / "checkpoints").mkdir()
    (last,) = sorted((finished[0] / "run" / "checkpoints").glob("step-*.pt"))[-1:]
    (tmp_path / "checkpoints" / last.name).write_bytes(last.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"step-.* is damaged"):
        from_run(tmp_path)


def test_a_file_tells_network_classes_and_size_by_card_or_shapes(finished):
    folder, _ = finished
    path = str(folder / "net.th")
    ways = {"its card": (read_card(path),), "its names and shapes": (None,), "--model": (None, "mlp_8")}
    for named_by, told in ways.items():
        found = from_file(path, *told)
        assert (found.name, found.named_by) == ("mlp_8", named_by)
        assert (found.num_classes(), found.image_size()) == (10, 32)
