import copy
import math

import pytest
import torch
from contrastive_set import INDICES, LOGITS, ROWS, golden_head, norm, pooled

from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.handlers import SeedSteps
from ignite_kd.heads import CRD
from ignite_kd.models import MLP
from ignite_kd.representation import Batch, Representation


def call(head, student, teacher):
    own, shown = head.embed(Representation(LOGITS, pooled=student), Representation(LOGITS, pooled=teacher))
    return head.contrast(own, shown, ROWS, INDICES)


def test_two_calls_are_the_golden_values_of_methods_7_6():
    head = golden_head()
    student, teacher = pooled(32, 4011), pooled(64, 4503)
    own, shown = head.embed(Representation(LOGITS, pooled=student), Representation(LOGITS, pooled=teacher))
    assert own.sum().item() == pytest.approx(0.7650098261, rel=1e-9)
    assert own[0, :3].tolist() == pytest.approx([0.0773169819, -0.1573275293, 0.3859096608], rel=1e-8)
    assert shown.sum().item() == pytest.approx(1.925528451, rel=1e-9)
    loss = call(head, student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(16.86965522, rel=1e-9)
    assert student.grad.norm().item() == pytest.approx(3.040436718, rel=1e-9)
    assert teacher.grad is None
    assert norm(p.grad for p in head.student_embedding.parameters()) == pytest.approx(10.6823418, rel=1e-9)
    assert norm(p.grad for p in head.teacher_embedding.parameters()) == pytest.approx(15.56284818, rel=1e-9)
    state = head.state_dict()
    assert state["log_normalisers"].exp().tolist() == pytest.approx([20426.31212, 22515.62219], rel=1e-9)
    assert state["student_bank.rows"].sum().item() == pytest.approx(10.52084067, rel=1e-9)
    assert state["teacher_bank.rows"].sum().item() == pytest.approx(11.12264079, rel=1e-9)

    student = pooled(32, 4011)
    loss = call(head, student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(23.49738781, rel=1e-9)
    assert student.grad.norm().item() == pytest.approx(2.524412419, rel=1e-9)
    state = head.state_dict()
    assert state["log_normalisers"].exp().tolist() == pytest.approx([20426.31212, 22515.62219], rel=1e-9)
    assert state["student_bank.rows"].sum().item() == pytest.approx(9.552047468, rel=1e-9)
    assert state["teacher_bank.rows"].sum().item() == pytest.approx(12.22958529, rel=1e-9)


def test_the_rounded_temperature_of_the_released_code_gives_its_loss():
    head = golden_head(temperature=torch.tensor(0.07).item())
    assert call(head, pooled(32, 4011), pooled(64, 4503)).item() == pytest.approx(16.86965515, rel=1e-9)


def test_it_is_the_papers_sum_written_out():
    head = golden_head().eval()
    own, shown = head.embed(
        Representation(LOGITS, pooled=pooled(32, 4011)), Representation(LOGITS, pooled=pooled(64, 4503))
    )
    expected = 0.0
    for vectors, rows in ((own, head.teacher_bank.rows), (shown, head.student_bank.rows)):
        powers = [
            [math.exp(sum(a * b for a, b in zip(rows[c].tolist(), vectors[n].tolist(), strict=True)) / 0.07)
             for c in ROWS[n].tolist()]
            for n in range(8)
        ]  # fmt: skip
        normaliser = sum(map(sum, powers)) / (8 * 7) * 50
        noise = 6 / 50
        for row in powers:
            first, *others = (power / normaliser for power in row)
            expected -= math.log(first / (first + noise + 1e-7)) / 8
            expected -= sum(math.log(noise / (o + noise + 1e-7)) for o in others) / 8
    assert head.contrast(own, shown, ROWS, INDICES).item() == pytest.approx(expected, rel=1e-12)


def test_a_low_temperature_does_not_overflow():
    torch.manual_seed(0)
    head = CRD({"pooled": 4}, {"pooled": 4}, samples=20, negatives=5, feature_dim=8, temperature=0.005)
    vectors = torch.nn.functional.normalize(torch.randn(3, 8)).requires_grad_()
    positions = head.draw(torch.arange(3))
    head.contrast(vectors, vectors, positions, torch.arange(3))
    head.student_bank.rows.copy_(head.teacher_bank.rows.copy_(vectors.detach()[0].expand(20, 8)))  # all coincide
    loss = head.contrast(vectors, vectors, positions, torch.arange(3))
    loss.backward()
    assert loss.isfinite() and vectors.grad.isfinite().all() and vectors.grad.any()


def test_in_evaluation_nothing_is_remembered():
    head = golden_head().eval()
    before = copy.deepcopy(head.state_dict())
    call(head, pooled(32, 4011), pooled(64, 4503))
    after = head.state_dict()
    assert all(torch.equal(after[name], t) for name, t in before.items())


def test_without_labels_every_image_is_a_class_of_its_own():
    head = CRD({"pooled": 4}, {"pooled": 4}, samples=6, negatives=5)
    drawn = head.draw(torch.tensor([3, 0]))
    assert drawn[:, 0].tolist() == [3, 0]
    assert [sorted(row) for row in drawn[:, 1:].tolist()] == [[0, 1, 2, 4, 5], [1, 2, 3, 4, 5]]


def test_a_run_that_is_resumed_from_its_states_goes_on_bit_equal():
    def build():
        torch.manual_seed(1)
        model, teacher = MLP(8, 1, 4, image_size=4), TeacherEngine(MLP(6, 1, 4, image_size=4))
        student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
        teacher.attach(student)
        SeedSteps(0).attach(student)
        labels = torch.arange(12) % 4
        head = CRD.for_models(model, teacher.model, labels=labels, negatives=9, feature_dim=5)
        head.attach(student)
        return student

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 3, 4, 4, generator=generator)
    loader = [Batch(images[i : i + 4], torch.arange(i, i + 4) % 4, torch.arange(i, i + 4)) for i in (0, 4, 8)]
    through, half, rest = build(), build(), build()
    through.run(loader, max_epochs=4)
    half.run(loader, max_epochs=2)
    states = {name: copy.deepcopy(thing.state_dict()) for name, thing in half.to_save().items()}
    for name, thing in rest.to_save().items():
        thing.load_state_dict(states[name])
    rest.run(loader, max_epochs=4)
    assert all(
        torch.equal(t, rest.heads["crd"].state_dict()[name]) for name, t in through.heads["crd"].state_dict().items()
    )
    assert all(torch.equal(t, rest.model.state_dict()[name]) for name, t in through.model.state_dict().items())


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch(torch.zeros(8), torch.zeros(8)), "the loader gives none; let it yield"),
        (
            Batch(torch.zeros(8), torch.zeros(8), torch.arange(43, 51)),
            "remembers 50 images, but the loader gave index 50",
        ),
    ],
)
def test_indices_that_are_missing_or_too_large_are_said_in_one_line(batch, message):
    seen = [Representation(LOGITS, pooled=pooled(width, 1)) for width in (32, 64)]
    with pytest.raises(UserError, match=message):
        golden_head()(*seen, batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature of crd should be positive, but 0"),
        ({"momentum": 1.0}, "momentum of crd should be 0 or more and below 1, but 1.0"),
        ({"negatives": 0}, "negatives of crd should be 1 or more, but 0"),
        ({"mode": "lax"}, "mode of crd should be exact or relax, but 'lax'"),
        ({"stages": "pooled+layer1"}, "crd contrasts one stage, but 2"),
        ({"labels": torch.zeros(5, dtype=torch.long)}, "two classes or more, but all are of one"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, message):
    channels = {"layer1": 4, "pooled": 4}
    with pytest.raises(UserError, match=message):
        CRD(channels, channels, **options)
