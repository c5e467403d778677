import copy
import math

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import DistillationEvents, StudentEngine
from ignite_kd.handlers import EpochMeans
from ignite_kd.heads import CrossEntropy

LOGITS = [[2.0, 0.0, -1.0], [0.5, 1.5, 0.0], [0.0, 0.25, 3.0], [1.0, -1.0, 0.5], [0.0, 0.0, 0.125]]
LABELS = [0, 0, 2, 1, 2]
# uneven on purpose: a mean of batch means would be another number
LOADER = [(torch.tensor(LOGITS[a:b]), torch.tensor(LABELS[a:b])) for a, b in ((0, 2), (2, 4), (4, 5))]
WEIGHTS = [2, 2, 1]


def cross_entropy(logits, label):
    return math.log(sum(map(math.exp, logits))) - logits[label]


LOSS = sum(map(cross_entropy, LOGITS, LABELS)) / 5
ACCURACY = 3 / 5


class Seekable:
    """The same batches for ever, from any position: without one, ignite begins a resumed epoch at its first batch."""

    def __init__(self):
        self.position = 0

    def __len__(self):
        return len(LOADER)

    def seek(self, iteration):
        self.position = iteration

    def __iter__(self):
        for position in range(self.position % len(LOADER), len(LOADER)):
            yield LOADER[position]


def measured(learning_rate=0.0):
    """A student whose logits are its images, as long as it does not learn."""
    model = nn.Linear(3, 3, bias=False)
    nn.init.eye_(model.weight)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=learning_rate))
    CrossEntropy().attach(student)
    means = EpochMeans()
    means.attach(student)
    return student, means


def test_means_are_over_images_also_where_batches_are_uneven():
    student, _ = measured()
    student.run(LOADER, max_epochs=1)
    assert student.state.metrics == pytest.approx(
        {"train/loss": LOSS, "train/loss.ce": LOSS, "train/accuracy": ACCURACY}, rel=1e-6
    )


def test_every_epoch_begins_anew():
    student, _ = measured(learning_rate=0.5)
    found, steps = [], []
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda s: steps.append(float(s.state.output["loss"])))
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda s: found.append(s.state.metrics["train/loss"]))
    student.run(LOADER, max_epochs=3)
    for epoch in range(3):
        expected = sum(w * loss for w, loss in zip(WEIGHTS, steps[3 * epoch : 3 * epoch + 3], strict=True)) / 5
        assert found[epoch] == pytest.approx(expected, rel=1e-6)
    assert found[0] > found[1] > found[2]


def test_a_term_of_every_second_step_counts_as_zero_in_between():
    student, _ = measured()
    add = lambda s: s.add_loss("rare", torch.tensor(3.0))  # noqa: E731
    student.add_event_handler(DistillationEvents.LOSSES(every=2), add)
    found = []
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda s: found.append(dict(s.state.metrics)))
    student.run(LOADER, max_epochs=2)
    # steps 2 (two images), then 4 and 6 (two and one); of five images each
    assert [m["train/loss.rare"] for m in found] == pytest.approx([3 * 2 / 5, 3 * 3 / 5])
    for m in found:
        assert m["train/loss"] == pytest.approx(m["train/loss.ce"] + m["train/loss.rare"], rel=1e-6)


def test_a_term_that_has_ended_has_no_mean_any_more():
    student, _ = measured()
    handle = student.add_event_handler(DistillationEvents.LOSSES, lambda s: s.add_loss("early", torch.tensor(3.0)))
    student.state.metrics["validation/loss"] = 0.5  # somebody else's
    found = []
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda s: found.append(dict(s.state.metrics)))
    student.add_event_handler(Events.EPOCH_COMPLETED(once=1), handle.remove)
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda s: s.state.metrics.setdefault("train/throughput", 9.0))
    student.run(LOADER, max_epochs=2)
    assert found[0]["train/loss.early"] == pytest.approx(3.0)
    assert "train/loss.early" not in found[1]
    assert found[1]["train/loss"] == pytest.approx(LOSS, rel=1e-6)
    assert found[1]["train/throughput"] == 9.0


@pytest.mark.parametrize("stop", [1, 2, 4, 5])
def test_an_epoch_that_was_interrupted_has_the_means_of_one_that_was_not(tmp_path, stop):
    whole, _ = measured(learning_rate=0.5)
    whole.run(Seekable(), max_epochs=2)

    part, means = measured(learning_rate=0.5)
    part.add_event_handler(Events.ITERATION_COMPLETED(once=stop), lambda: part.terminate(skip_completed=True))
    part.run(Seekable(), max_epochs=2)
    assert part.state.iteration == stop
    torch.save({"means": means.state_dict(), **{n: o.state_dict() for n, o in part.to_save().items()}}, tmp_path / "c")

    resumed, means = measured(learning_rate=0.5)
    saved = torch.load(tmp_path / "c", weights_only=True)
    for name, thing in (resumed.to_save() | {"means": means}).items():
        thing.load_state_dict(saved[name])
    resumed.run(Seekable(), max_epochs=2)
    assert resumed.state.metrics == whole.state.metrics  # to the last bit


def test_a_saved_state_does_not_move_with_the_run():
    student, means = measured()
    taken = []

    def take():
        state = means.state_dict()
        taken.append((state, copy.deepcopy(state)))

    student.add_event_handler(Events.ITERATION_COMPLETED(once=1), take)
    student.run(LOADER, max_epochs=1)
    ((state, as_it_was),) = taken
    assert state["images"] == as_it_was["images"] == 2
    assert all(torch.equal(sums, as_it_was["sums"][names]) for names, sums in state["sums"].items())
    assert means.state_dict() == {"images": 0, "sums": {}}


def test_small_losses_are_not_lost_beside_large_ones():
    """In float32 a sum of 2^25 stays where it is when ones are added."""
    student, _ = measured()
    add = lambda s: s.add_loss("term", torch.tensor(2.0**24 if s.state.iteration == 1 else 1.0))  # noqa: E731
    student.add_event_handler(DistillationEvents.LOSSES, add)
    student.run(LOADER, max_epochs=1)
    assert student.state.metrics["train/loss.term"] == (2 * 2**24 + 2 + 1) / 5
