import math

import pytest
import torch
from ignite.engine import Events
from oracles import h
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.handlers import Evaluate, evaluate
from ignite_kd.heads import CrossEntropy

# the highest logit is right in images 0, 2 and 3; in image 1 the right one is sixth, in image 4 third
LOGITS = [
    [3.0, 0.0, 0.0, 0.0, 0.0, -1.0, -2.0],
    [5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0],
    [0.0, 0.0, 2.5, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5],
    [1.0, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0],
]
LABELS = [0, 5, 2, 6, 2]
UNEVEN = [(torch.tensor(LOGITS[a:b]), torch.tensor(LABELS[a:b])) for a, b in ((0, 3), (3, 5))]


def cross_entropy(logits, label):
    return math.log(sum(map(math.exp, logits))) - logits[label]


def test_every_image_counts_once():
    found = evaluate(nn.Identity(), UNEVEN)
    assert found == pytest.approx(
        {"accuracy": 3 / 5, "top5": 4 / 5, "loss": sum(map(cross_entropy, LOGITS, LABELS)) / 5}, rel=1e-6
    )
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
def test_among_five_classes_or_fewer_the_right_one_is_always_within_the_first_five(classes):
    logits = h((6, classes), 3)
    labels = logits.argmin(1)
    labels[0] = logits[0].argmax()
    found = evaluate(nn.Identity(), [(logits[:4], labels[:4]), (logits[4:], labels[4:])])
    assert found["top5"] == 1
    assert found["accuracy"] == pytest.approx(1 / 6)


def test_the_network_is_asked_in_evaluation_mode_and_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(7), nn.Dropout(0.9)).train()
    model[0].eval()  # frozen on purpose
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert evaluate(model, UNEVEN)["accuracy"] == pytest.approx(3 / 5)
    assert (model.training, model[0].training, model[1].training) == (True, False, True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def judged(accuracies, **settings):
    """A student and its evaluation; its weights, and with them its accuracy, are set at each epoch's start."""
    model = nn.Linear(1, 2)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.0))
    CrossEntropy().attach(student)

    def begin(student):
        model.weight.data = torch.tensor([[0.0], [1.0]])
        model.bias.data = torch.tensor([0.0, accuracies[student.state.epoch - 1] * 10 - 10.5])

    student.add_event_handler(Events.EPOCH_STARTED, begin)
    # image i is called 1 where i > 10.5 - 10 a: of the ten images 1 … 10, all 1, the share a
    evaluation = Evaluate([(torch.arange(1.0, 11).reshape(10, 1), torch.ones(10, dtype=torch.long))], **settings)
    evaluation.attach(student)
    return student, evaluation


LEARNED_FROM = [(torch.ones(2, 1), torch.tensor([0, 1]))] * 2


def epochs_of(student, count):
    found = []
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda s: found.append(dict(s.state.metrics)))
    student.run(LEARNED_FROM, max_epochs=count)
    return found


def test_the_best_epoch_is_the_earliest_of_equals():
    student, evaluation = judged([0.2, 0.7, 0.5, 0.7, 0.6])
    found = epochs_of(student, 5)
    assert [m["validation/accuracy"] for m in found] == pytest.approx([0.2, 0.7, 0.5, 0.7, 0.6])
    assert evaluation.best == (pytest.approx(0.7), 2)
    assert all({"validation/top5", "validation/loss"} <= m.keys() for m in found)
    assert student.model.training


def test_even_an_accuracy_of_zero_is_the_best_of_nothing():
    student, evaluation = judged([0.0, 0.0])
    assert evaluation.best[1] == 0
    epochs_of(student, 2)
    assert evaluation.best == (0.0, 1)


def test_the_best_epoch_survives_a_checkpoint(tmp_path):
    student, evaluation = judged([0.2, 0.7, 0.7, 0.8])
    epochs_of(student, 2)
    torch.save({"student": student.state_dict(), "evaluation": evaluation.state_dict()}, tmp_path / "c")
    saved = torch.load(tmp_path / "c", weights_only=True)
    student, evaluation = judged([0.2, 0.7, 0.7, 0.8])
    student.load_state_dict(saved["student"])
    evaluation.load_state_dict(saved["evaluation"])
    assert evaluation.best == (pytest.approx(0.7), 2)
    epochs_of(student, 3)
    assert evaluation.best == (pytest.approx(0.7), 2)
    student.run(LEARNED_FROM, max_epochs=4)
    assert evaluation.best == (pytest.approx(0.8), 4)


def test_between_two_evaluations_there_are_no_old_numbers():
    student, evaluation = judged([0.9, 0.3, 0.8, 0.6], every=2, prefix="test")
    found = epochs_of(student, 4)
    assert [m.get("test/accuracy") for m in found] == [None, pytest.approx(0.3), None, pytest.approx(0.6)]
    assert not any(name.startswith("test/") for name in found[2])
    assert evaluation.best == (pytest.approx(0.6), 4)
