import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import fill
from released_code import GOLDEN, STUDENT_SEED, batches, set_weights
from torch import nn

from ignite_kd import models
from ignite_kd.bench.images import random_images
from ignite_kd.bench.plain_loop import PlainLoop, picture_loader
from ignite_kd.models import WideResNet
from ignite_kd.terms import Term


@pytest.mark.parametrize("trace", GOLDEN["with_transfer"], ids=lambda trace: f"{trace['student_depth']}")
def test_it_learns_as_the_released_code_did(trace):
    teacher = WideResNet(trace["teacher_depth"], trace["teacher_width"]).double()
    student = WideResNet(trace["student_depth"], trace["student_width"]).double()
    kd = Term("kd", trace["kd_factor"], {"temperature": trace["temperature"]})
    terms = [Term("ce"), kd, Term("vid", trace["vid_factor"])]
    steps = len(trace["losses"])
    loop = PlainLoop(student, teacher, terms, list(batches(trace["batch"], steps)))
    assert not loop.borrowed
    vid = loop.terms[-1][1]
    released = {f"variance_param{i}": parameter.detach() for i, parameter in enumerate(vid.variances, 1)}
    released |= student.state_dict()
    for i, branch in enumerate(vid.branches, 1):
        released |= {f"branch{i}.{key}": value for key, value in branch.state_dict().items()}
    assert all((t == trace["initial_variance_param"]).all() for key, t in released.items() if "variance_param" in key)
    set_weights(teacher.state_dict(), trace["seed"])
    set_weights(released, trace["seed"] + STUDENT_SEED)

    loop.run(4)
    loop.run(steps - 4)
    assert loop.losses == pytest.approx(trace["losses"], rel=1e-9, abs=0)
    for key, expected in trace["final"].items():
        assert released[key].sum().item() == pytest.approx(expected, rel=0, abs=1e-7), key
    for key, expected in trace["teacher_bn_after"].items():
        assert teacher.state_dict()[key].sum().item() == pytest.approx(expected, rel=0, abs=1e-7), key


def pair():
    return fill(models.build("wrn_10_1", 10), 3), fill(models.build("wrn_10_1", 10), 7)


class Spread(nn.Module):
    """A term that is not the released code's; it sees torch's switches, too."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.switches = []

    def forward(self, seen, shown, batch):
        self.switches.append((torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32))
        return self.scale * (seen.logits - shown.logits).square().mean()


def test_another_term_is_borrowed_and_trained_and_right_answers_are_counted():
    student, teacher = pair()
    term, (batch,) = Spread(), batches(8, 1)
    loop = PlainLoop(copy.deepcopy(student), teacher, [Term("ce"), Term("sp", 2.0)], [batch], borrow=lambda _: term)
    own = student.train()(batch.images)
    shown = copy.deepcopy(teacher).train()(batch.images)
    expected = F.cross_entropy(own, batch.labels) + 2 * 3 * (own - shown).square().mean()
    loop.run(1)
    assert loop.borrowed == ["sp"]
    assert loop.losses == pytest.approx([expected.item()])
    assert loop.right == sum(int(row.argmax()) == int(label) for row, label in zip(own, batch.labels, strict=True))
    assert term.scale.item() != 3.0


@pytest.mark.parametrize(
    ("student", "term", "borrowed"),
    [
        ("wrn_10_2", Term("vid"), []),
        ("wrn_10_2", Term("vid", 1.0, {"variant": "benchmark"}), ["vid"]),
        ("vgg8", Term("vid"), ["vid"]),  # its maps have other sizes
        ("wrn_10_2", Term("kd"), []),
    ],
)
def test_it_says_which_terms_are_not_written_out(student, term, borrowed):
    networks = models.build(student, 10), models.build("wrn_10_1", 10)
    assert PlainLoop(*networks, [term], [], borrow=lambda _: Spread()).borrowed == borrowed


def test_torchs_switches_are_its_defaults_in_a_step_and_afterwards_what_they_were(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    term = Spread()
    PlainLoop(*pair(), [Term("sp")], batches(2, 1), borrow=lambda _: term).run(1)
    assert term.switches == [(False, True)]
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.allow_tf32


def test_its_pictures_are_flipped_crops_of_reflected_images_without_end():
    dataset = random_images("cifar10", 10, train=20, test=4)
    loader = iter(picture_loader(dataset, 4, workers=0))
    seen = [next(loader) for _ in range(12)]
    first = torch.cat([indices for _, _, indices in seen[:5]])
    assert sorted(first.tolist()) == list(range(20))
    mean, std = (np.array(x, dtype=np.float32)[:, None, None] for x in (dataset.mean, dataset.std))
    for image, label, index in list(zip(*seen[0], strict=True)) + list(zip(*seen[11], strict=True)):
        assert label == dataset.train.labels[index]
        pixels = np.rint((image.numpy() * std + mean) * 255).astype(np.uint8)
        padded = np.pad(dataset.train.images[index].numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
        windows = [
            x[:, y : y + 32, z : z + 32] for x in (padded, padded[..., ::-1]) for y in range(9) for z in range(9)
        ]
        assert any((pixels == window).all() for window in windows)
