import copy
import gc
import io
import math
import weakref

import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping, ProgressBar, TerminateOnNan
from torch import nn
from torch.optim import SGD
from torch.utils._python_dispatch import TorchDispatchMode

from ignite_kd import models
from ignite_kd.data.dataset import Images
from ignite_kd.data.stream import Stream
from ignite_kd.engines import EvaluationEngine, StudentEngine, TeacherEngine, device_of
from ignite_kd.errors import UserError
from ignite_kd.events import DistillationEvents
from ignite_kd.heads import KD, VID, CrossEntropy
from ignite_kd.models import WideResNet
from ignite_kd.representation import Batch, Representation

GENERATOR = torch.Generator().manual_seed(1)
LOADER = [(torch.randn(4, 3, 4, 4, generator=GENERATOR), torch.tensor([0, 1, 2, i % 3])) for i in range(4)]


def network(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Linear(16 * width, 3)
    )


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


def new_student(model=None, *heads):
    model = model or network()
    student = StudentEngine(model, sgd(model))
    for head in heads or (CrossEntropy(),):
        head.attach(student)
    return student


def with_vid(seed=0):
    """A small student that has projectors, under a teacher."""
    torch.manual_seed(seed)
    model, teacher_model = WideResNet(10, 1, 3), WideResNet(10, 2, 3)
    vid = VID.for_models(model, teacher_model)
    teacher = TeacherEngine(teacher_model)
    student = new_student(model)
    teacher.attach(student)
    return student, teacher, vid


def snapshot(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


# ---------------------------------------------------------------------------------------- the student's training


def test_without_a_teacher_it_is_plain_training_to_the_last_bit():
    student = new_student()
    logged = []
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda: logged.append(student.state.output["loss"].item()))
    student.run(LOADER, max_epochs=3)

    model = network()
    optimizer = sgd(model)
    losses = []
    for _ in range(3):
        for images, labels in LOADER:
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert logged == losses
    assert same(student.model.state_dict(), model.state_dict())


def test_with_a_teacher_it_is_the_sum_of_the_weighted_terms():
    teacher_model, model = network(5).double(), network().double()
    student = StudentEngine(model, sgd(model))
    TeacherEngine(teacher_model).attach(student)
    CrossEntropy().attach(student, factor=0.1)
    KD(2.0).attach(student, factor=0.9)
    loader = [(images.double(), labels) for images, labels in LOADER]
    student.run(loader, max_epochs=2)

    plain = network().double()
    optimizer = sgd(plain)
    for images, labels in loader * 2:
        with torch.no_grad():
            wanted = (teacher_model(images) / 2).softmax(1)
        logits = plain(images)
        kd = 4 * (wanted * (wanted.log() - (logits / 2).log_softmax(1))).sum() / len(labels)
        loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * kd
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert student.state.output["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-10, atol=1e-12)


def test_the_output_has_detached_losses_logits_and_labels():
    student, _, vid = with_vid()
    vid.attach(student, factor=0.1)
    student.run(LOADER, max_epochs=1)
    output = student.state.output
    assert set(output) == {"loss", "losses", "logits", "labels"}
    assert set(output["losses"]) == {"ce", "vid"}
    tensors = [output["loss"], output["logits"], output["labels"], *output["losses"].values()]
    assert not any(tensor.requires_grad or tensor.grad_fn for tensor in tensors)
    assert [tuple(t.shape) for t in tensors] == [(), (4, 3), (4,), (), ()]
    assert output["loss"].item() == pytest.approx(sum(term.item() for term in output["losses"].values()), rel=1e-6)
    assert torch.equal(output["labels"], LOADER[-1][1])


def test_the_features_and_the_graph_of_a_step_are_freed_before_the_next_forward_pass():
    student, teacher, vid = with_vid()
    vid.attach(student)
    held, alive = [], []

    @student.on(DistillationEvents.LOSSES)
    def remember():
        seen = [student.state.student.features["layer1"], student.state.teacher.features["layer1"]]
        held[:] = map(weakref.ref, [*seen, student.state.losses["vid"]])

    for model in (student.model, teacher.model):
        model.register_forward_pre_hook(lambda *_: alive.extend(ref() is not None for ref in held))
        model.conv1.register_forward_pre_hook(lambda *_: alive.extend(ref() is not None for ref in held))
    gc.disable()  # nothing may wait for the garbage collector
    try:
        student.run(LOADER, max_epochs=1)
    finally:
        gc.enable()
    assert len(alive) >= 3 * 3 * 2
    assert not any(alive)


class Refusing(TorchDispatchMode):
    """Raises where a number is read out of a tensor, for which the host waits on a GPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "_local_scalar_dense" in str(function) or "nonzero" in str(function):
            raise AssertionError(f"the host waits for {function}")
        return function(*args, **(kwargs or {}))


def test_the_host_never_waits_within_a_run():
    with Refusing(), pytest.raises(AssertionError, match="the host waits"):
        torch.ones(()).item()
    student, _, vid = with_vid()
    vid.attach(student)
    KD().attach(student)
    with Refusing():
        student.run(LOADER, max_epochs=2)
    assert student.state.iteration == 8


def test_bfloat16_is_for_the_forward_pass_only():
    torch.manual_seed(0)
    model, teacher_model = WideResNet(10, 1, 3), WideResNet(10, 2, 3)
    before = snapshot(model)
    student = StudentEngine(model, sgd(model), precision="bf16")
    TeacherEngine(teacher_model, precision="bf16").attach(student)
    for head in (CrossEntropy(), KD(), VID.for_models(model, teacher_model)):
        head.attach(student)
    seen = []

    @student.on(DistillationEvents.LOSSES)
    def note():
        seen.append({student.state.student.logits.dtype, student.state.teacher.logits.dtype})

    student.run(LOADER, max_epochs=1)
    assert seen == [{torch.bfloat16}] * 4
    assert {term.dtype for term in student.state.output["losses"].values()} == {torch.float32}
    assert student.state.output["loss"].dtype is torch.float32
    assert math.isfinite(student.state.output["loss"].item())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not same(before, model.state_dict())


@pytest.mark.parametrize("build", [lambda **o: new_student_with(**o), lambda **o: TeacherEngine(network(), **o)])
def test_an_unknown_precision_is_refused(build):
    with pytest.raises(ValueError, match=r"precision should be one of fp32, bf16, but given fp16\."):
        build(precision="fp16")


def new_student_with(**options):
    model = network()
    return StudentEngine(model, sgd(model), **options)


def test_a_step_may_have_several_backward_passes():
    class Twice(StudentEngine):
        passes = 0

        def backward(self, losses):
            for term in losses.values():
                term.backward(retain_graph=True)
                self.passes += 1

    students = []
    for kind in (StudentEngine, Twice):
        model = network().double()
        student = kind(model, sgd(model))
        CrossEntropy().attach(student, factor=0.3)
        CrossEntropy().attach(student, factor=0.7, name="more")
        student.run([(images.double(), labels) for images, labels in LOADER], max_epochs=2)
        students.append(student)
    assert students[1].passes == 2 * 8
    torch.testing.assert_close(*(s.model.state_dict() for s in students), rtol=1e-10, atol=1e-12)


def test_gradients_of_the_step_before_do_not_count():
    student = new_student()
    for parameter in student.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e6)
    student.run(LOADER, max_epochs=1)
    plain = new_student()
    plain.run(LOADER, max_epochs=1)
    assert same(student.model.state_dict(), plain.model.state_dict())


def test_a_stream_is_put_at_the_students_position_so_that_a_resumed_run_sees_the_same_batches():
    data = Images(torch.randint(0, 256, (10, 3, 4, 4), dtype=torch.uint8, generator=GENERATOR), torch.arange(10) % 3)

    def stream():
        return Stream(data, 3, mean=(0.5,) * 3, std=(0.2,) * 3, augmentation=None, shuffle=True, seed=3)

    def followed(student):
        order = []
        student.add_event_handler(Events.ITERATION_STARTED, lambda: order.append(student.state.batch.indices.tolist()))
        return order

    whole = new_student()
    expected = followed(whole)
    whole.run(stream(), max_epochs=3)

    broken = new_student()
    broken.add_event_handler(Events.ITERATION_COMPLETED(once=6), lambda: broken.terminate())
    broken.run(stream(), max_epochs=3)
    resumed = new_student()
    for name, thing in resumed.to_save().items():
        thing.load_state_dict(copy.deepcopy(broken.to_save()[name].state_dict()))
    order = followed(resumed)
    resumed.run(stream(), max_epochs=3)
    assert order == expected[6:]
    assert same(resumed.model.state_dict(), whole.model.state_dict())


# -------------------------------------------------------------------------------------------------------- losses


def test_a_plain_function_is_a_head():
    student = new_student()

    @student.on(DistillationEvents.LOSSES)
    def small_logits(engine):
        engine.add_loss("small", 0.01 * engine.state.student.logits.square().mean())

    student.run(LOADER, max_epochs=1)
    output = student.state.output
    assert output["losses"]["small"].item() == pytest.approx(0.01 * (output["logits"] ** 2).mean().item(), rel=1e-6)

    model = network()
    optimizer = sgd(model)
    for images, labels in LOADER:
        logits = model(images)
        loss = F.cross_entropy(logits, labels) + 0.01 * logits.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(student.model.state_dict(), model.state_dict())


def test_a_loss_of_one_element_is_a_scalar():
    student = new_student()
    student.add_event_handler(DistillationEvents.LOSSES, lambda: student.add_loss("one", torch.ones(1, 1)))
    student.run(LOADER, max_epochs=1)
    assert student.state.output["losses"]["one"].shape == ()


@pytest.mark.parametrize(
    ("term", "name", "message"),
    [
        (torch.ones(()), "ce", r"the loss 'ce' was added twice at iteration 1\."),
        (torch.ones(2), "mine", r"the loss 'mine' should be a scalar, but its shape is \(2,\)\."),
    ],
)
def test_a_loss_that_is_doubled_or_no_scalar_is_refused(term, name, message):
    student = new_student()
    student.add_event_handler(DistillationEvents.LOSSES, lambda: student.add_loss(name, term))
    with pytest.raises(ValueError, match=message):
        student.run(LOADER, max_epochs=1)


def test_a_student_without_a_loss_says_what_to_attach():
    model = network()
    student = StudentEngine(model, sgd(model))
    before = snapshot(model)
    with pytest.raises(RuntimeError) as error:
        student.run(LOADER, max_epochs=1)
    assert str(error.value) == (
        "no loss was added in DistillationEvents.LOSSES at iteration 1. "
        "Attach a head, e.g. CrossEntropy().attach(student)."
    )
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


# --------------------------------------------------------------------------------------------- heads' parameters


def test_a_heads_parameters_join_the_optimizer_and_leave_with_it():
    student, _, vid = with_vid()
    group = student.optimizer.param_groups[0]
    own = list(map(id, student.model.parameters()))
    handle = vid.attach(student, name="vid")
    assert list(map(id, group["params"])) == own + list(map(id, vid.parameters()))
    assert student.to_save()["head.vid"] is vid
    before = snapshot(vid)
    student.run(LOADER, max_epochs=1)
    assert all(not torch.equal(before[key], value) for key, value in vid.state_dict().items())
    assert all(p in student.optimizer.state for p in vid.parameters())
    handle.remove()
    assert list(map(id, group["params"])) == own
    assert not any(p in student.optimizer.state for p in vid.parameters())
    assert set(student.to_save()) == {"student", "model", "optimizer", "head.ce"}
    after = snapshot(vid)
    student.run(LOADER, max_epochs=2)
    assert same(after, vid.state_dict())


def test_a_head_goes_where_its_student_is():
    torch.manual_seed(0)
    model = WideResNet(10, 1, 3)
    vid = VID.for_models(model, model, stages="layer3")
    model.to("meta")
    student = StudentEngine(model, sgd(model))
    vid.attach(student)
    assert {p.device.type for p in vid.parameters()} == {"meta"}
    held = {id(p) for p in student.optimizer.param_groups[0]["params"]}
    assert {id(p) for p in vid.parameters()} <= held


def test_a_head_learns_with_the_rate_and_the_decay_of_the_only_group():
    class Bias(CrossEntropy):
        name = "bias"

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.full((), 2.0))

        def forward(self, student, teacher, batch):
            return 3.0 * self.weight + student.logits.sum() * 0

    model = network()
    head = Bias()
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.1))
    head.attach(student)
    student.run(LOADER[:1], max_epochs=1)
    assert head.weight.item() == pytest.approx(2.0 - 0.5 * (3.0 + 0.1 * 2.0))


def test_parameters_that_the_optimizer_holds_are_not_taken_in_again_nor_away():
    torch.manual_seed(0)
    model, teacher_model = WideResNet(10, 1, 3), WideResNet(10, 1, 3)
    vid = VID.for_models(model, teacher_model)
    groups = [{"params": list(model.parameters())}, {"params": list(vid.parameters()), "lr": 0.01}]
    student = StudentEngine(model, torch.optim.SGD(groups, lr=0.1))
    held = [len(group["params"]) for group in student.optimizer.param_groups]
    vid.attach(student).remove()
    assert [len(group["params"]) for group in student.optimizer.param_groups] == held


def test_frozen_parameters_of_a_head_are_left_alone():
    student, _, vid = with_vid()
    vid.branches.requires_grad_(False)
    before = snapshot(vid.branches)
    own = len(student.optimizer.param_groups[0]["params"])
    vid.attach(student)
    assert len(student.optimizer.param_groups[0]["params"]) == own + 3
    student.run(LOADER, max_epochs=1)
    assert same(before, vid.branches.state_dict())


def test_an_optimizer_of_several_groups_that_lacks_them_is_refused():
    torch.manual_seed(0)
    model = WideResNet(10, 1, 3)
    parameters = list(model.parameters())
    student = StudentEngine(model, torch.optim.SGD([{"params": parameters[:3]}, {"params": parameters[3:]}], lr=0.1))
    vid = VID.for_models(model, model, stages="layer3")
    with pytest.raises(ValueError) as error:
        vid.attach(student)
    assert str(error.value) == (
        "VID would never be trained: the optimizer has 2 groups and holds none of branches.0.0.weight, "
        "branches.0.1.weight, variances.0. Build the optimizer over the head's parameters too."
    )
    assert student.heads == student.factors == {}
    CrossEntropy().attach(student)  # a head without parameters is welcome


@pytest.mark.parametrize("factor", [-0.1, -math.inf, math.nan])
def test_a_factor_below_zero_is_refused(factor):
    student = new_student()
    with pytest.raises(ValueError, match=rf"the factor of 'kd' should be zero or more, but {factor} was given\."):
        KD().attach(student, factor=factor)
    assert list(student.heads) == ["ce"]


def test_a_head_is_attached_once():
    student, head = new_student(), KD()
    head.attach(student)
    with pytest.raises(ValueError, match="this KD is attached already, as 'kd'"):
        head.attach(student, name="again")


def test_a_head_of_a_name_that_is_taken_is_refused():
    student = new_student()
    with pytest.raises(ValueError, match=r"a head named 'ce' already; attach this one with another name=\."):
        CrossEntropy().attach(student)
    CrossEntropy().attach(student, name="another")
    student.run(LOADER, max_epochs=1)
    assert set(student.state.output["losses"]) == {"ce", "another"}


# ------------------------------------------------------------------------------------------------------ teachers


def test_a_teacher_is_bit_equal_after_teaching_and_gets_no_gradient():
    student, teacher, vid = with_vid()
    vid.attach(student)
    KD().attach(student)
    before = snapshot(teacher.model)
    modes = []

    @student.on(DistillationEvents.LOSSES)
    def note():
        modes.append((student.model.training, teacher.model.training))
        seen = student.state.teacher
        tensors = [seen.logits, seen.pooled, *seen.features.values(), *seen.before_relu.values()]
        assert not any(t.requires_grad or t.is_inference() for t in tensors)

    student.run(LOADER, max_epochs=2)
    assert same(before, teacher.model.state_dict())
    assert all(p.grad is None and not p.requires_grad for p in teacher.model.parameters())
    assert modes == [(True, False)] * 8


def test_batch_statistics_move_the_running_ones_as_the_released_code_does():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 3)).double()
    teacher = TeacherEngine(model, batch_statistics=True)
    student = new_student(network().double())
    teacher.attach(student)
    KD().attach(student)
    means, variances = [0.0] * 3, [1.0] * 3
    loader = [(images.double(), labels) for images, labels in LOADER]
    for images, _ in loader:
        for c in range(3):
            values = images[:, c].flatten().tolist()
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
            means[c] = 0.9 * means[c] + 0.1 * mean
            variances[c] = 0.9 * variances[c] + 0.1 * variance
    student.run(loader, max_epochs=1)
    assert model[0].running_mean.tolist() == pytest.approx(means, rel=1e-10)
    assert model[0].running_var.tolist() == pytest.approx(variances, rel=1e-10)
    assert all(p.grad is None for p in model.parameters())
    # what it showed is normalised by the batch's own statistics
    images = loader[-1][0]
    normed = (images - images.mean((0, 2, 3), keepdim=True)) / (
        images.var((0, 2, 3), keepdim=True, correction=0) + 1e-5
    ).sqrt()
    torch.testing.assert_close(student.state.teacher.logits, model[2](normed.flatten(1)))

    moved = snapshot(model)
    teacher.run(loader)  # evaluated it is in eval mode all the same, and teaches on as before
    assert same(moved, model.state_dict())
    assert model[0].training


def test_a_teacher_of_several_students_looks_once_at_a_batch():
    calls = []
    model = network(5)
    model.register_forward_hook(lambda *_: calls.append(1))
    teacher = TeacherEngine(model)
    batch = Batch(*LOADER[0])
    students = [new_student(network(seed), KD()) for seed in range(3)]
    for student in students:
        teacher.attach(student)
        student.run([batch], max_epochs=1)
    assert len(calls) == 1
    assert len({id(student.state.teacher) for student in students}) == 1


def test_a_teacher_looks_anew_at_other_images_of_the_same_iteration():
    teacher = TeacherEngine(network(5))
    for images, labels in LOADER:
        student = new_student(network(), KD())
        teacher.attach(student)
        student.run([(images, labels)], max_epochs=1)
        with torch.no_grad():
            assert torch.equal(student.state.teacher.logits, teacher.model(images))


def test_a_loader_that_fills_one_tensor_anew_is_seen_anew():
    class Refilled:
        buffer = torch.zeros(4, 3, 4, 4)

        def __len__(self):
            return len(LOADER)

        def __iter__(self):
            for images, labels in LOADER:
                yield self.buffer.copy_(images), labels

    teacher = TeacherEngine(network(5))
    student = new_student(network(), KD())
    teacher.attach(student)
    with torch.no_grad():
        expected = [teacher.model(images) for images, _ in LOADER]

    @student.on(DistillationEvents.LOSSES)
    def compare():
        assert torch.equal(student.state.teacher.logits, expected[student.state.iteration - 1])

    student.run(Refilled(), max_epochs=1)
    assert student.state.iteration == 4


def test_a_student_has_one_teacher_at_a_time():
    student = new_student()
    handle = TeacherEngine(network(1)).attach(student)
    with pytest.raises(ValueError, match=r"has a teacher already; remove\(\) that attachment first\."):
        TeacherEngine(network(2)).attach(student)
    handle.remove()
    another = TeacherEngine(network(2))
    another.attach(student)
    assert student.teacher is another


def test_teacher_and_student_lie_on_one_device():
    student = new_student()
    with pytest.raises(ValueError, match=r"the teacher is on meta but the student on cpu; give both one device=\."):
        TeacherEngine(network(), device="meta").attach(student)


def test_a_device_is_the_same_by_its_short_and_its_full_name():
    student = new_student_with(device="cpu:0")  # tensors there say that they lie on `cpu`
    teacher = TeacherEngine(network(5))
    assert student.device == teacher.device == device_of(student.model)
    teacher.attach(student)


def test_the_model_is_moved_to_the_device():
    model = network()
    assert StudentEngine(model, sgd(model), device="meta").device == torch.device("meta")
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert device_of(nn.Flatten()) == torch.device("cpu")


# ---------------------------------------------------------------------------------------------------- evaluation


class Table(nn.Module):
    """Logits that are known: the rows of a table, by the image's only number."""

    rows = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0], [0.5, 0.5, 0.4]])

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.scale * self.rows[images.long()]


@pytest.mark.parametrize("kind", [EvaluationEngine, TeacherEngine])
def test_run_on_a_loader_it_gives_accuracy_and_mean_cross_entropy(kind):
    images, labels = [0, 1, 2, 1, 0], [0, 1, 2, 2, 1]
    correct, loss = 0, 0.0
    for image, label in zip(images, labels, strict=True):
        row = Table.rows[image].tolist()
        correct += row.index(max(row)) == label
        loss -= math.log(math.exp(row[label]) / sum(math.exp(z) for z in row))
    # batches of unequal size, because a mean of means would be another number
    loader = [
        (torch.tensor(images[:4]), torch.tensor(labels[:4])),
        (torch.tensor(images[4:]), torch.tensor(labels[4:])),
    ]
    metrics = kind(Table()).run(loader).metrics
    assert metrics["accuracy"] == pytest.approx(correct / 5)
    assert metrics["loss"] == pytest.approx(loss / 5, rel=1e-6)


def test_evaluation_runs_in_eval_mode_without_gradients_and_leaves_no_trace():
    model = network()
    model[1].eval()  # frozen on purpose
    modes = [module.training for module in model.modules()]
    before = snapshot(model)
    engine = EvaluationEngine(model)
    outputs = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: outputs.append(engine.state.output))
    inside = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: inside.append([m.training for m in model.modules()]))
    engine.run(LOADER)
    assert inside == [[False] * len(modes)] * 4
    assert [module.training for module in model.modules()] == modes
    assert same(before, model.state_dict())
    assert all(not output["logits"].requires_grad for output in outputs)
    assert isinstance(outputs[0]["representation"], Representation)
    model.eval()
    assert torch.equal(outputs[0]["logits"], model(LOADER[0][0]).detach())


def test_an_evaluation_that_fails_puts_the_modes_back():
    model = network()
    with pytest.raises(TypeError, match="a loader should yield"):
        EvaluationEngine(model).run([torch.zeros(1)])
    assert all(module.training for module in model.modules())


def test_every_epoch_begins_with_the_whole_student_in_training_mode():
    student = new_student()
    modes = []
    student.add_event_handler(
        Events.GET_BATCH_STARTED, lambda: modes.append({part.training for part in student.model.modules()})
    )
    student.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, lambda: student.model[1].eval() and None)
    student.run(LOADER, max_epochs=3)
    assert modes == [{True}] * 12


def test_bfloat16_logits_are_evaluated_in_float32():
    engine = EvaluationEngine(network(), precision="bf16")
    engine.run(LOADER)
    assert engine.state.output["representation"].logits.dtype is torch.bfloat16
    assert engine.state.output["logits"].dtype is torch.float32


@pytest.mark.parametrize("put_back", [True, False])
def test_an_evaluation_between_epochs_changes_nothing_for_the_student(put_back):
    plain = new_student()
    plain.run(LOADER, max_epochs=3)
    student = new_student()
    modes = []
    student.add_event_handler(DistillationEvents.LOSSES, lambda: modes.append(student.model.training))

    @student.on(Events.EPOCH_COMPLETED | Events.ITERATION_COMPLETED(every=3))
    def evaluate():
        if put_back:
            EvaluationEngine(student.model).run(LOADER)
        else:
            student.model.eval()

    student.run(LOADER, max_epochs=3)
    assert modes == [True] * 12
    assert same(student.model.state_dict(), plain.model.state_dict())


# --------------------------------------------------------------------------------------------- ignite's handlers


def test_ignites_progress_bar_counts_and_shows_the_loss():
    student = new_student()
    written = io.StringIO()
    ProgressBar(persist=True, file=written).attach(student, output_transform=lambda o: {"loss": o["loss"].item()})
    student.run(LOADER, max_epochs=2)
    text = written.getvalue()
    assert "[4/4]" in text
    assert "Epoch [2/2]" in text
    assert f"loss={student.state.output['loss'].item():.3g}"[:9] in text


def test_ignites_checkpoint_resumes_to_the_last_bit(tmp_path):
    def fresh(seed):
        student, teacher, _ = with_vid(0)
        torch.manual_seed(seed)
        VID.for_models(student.model, teacher.model).attach(student, factor=0.1)
        return student

    whole = fresh(1)
    whole.run(LOADER, max_epochs=4)

    half = fresh(1)
    saver = Checkpoint(half.to_save(), DiskSaver(tmp_path, require_empty=False), filename_prefix="half")
    half.add_event_handler(Events.EPOCH_COMPLETED, saver)
    half.run(LOADER, max_epochs=2)

    resumed = fresh(2)  # other projectors, until the file brings the right ones
    state = torch.load(saver.last_checkpoint, map_location="cpu", weights_only=True)
    assert set(state) >= {"student", "model", "optimizer", "head.ce", "head.vid"}
    Checkpoint.load_objects(resumed.to_save(), state)
    assert (resumed.state.epoch, resumed.state.iteration) == (2, 8)
    resumed.run(LOADER, max_epochs=4)
    assert same(resumed.model.state_dict(), whole.model.state_dict())
    assert same(resumed.heads["vid"].state_dict(), whole.heads["vid"].state_dict())
    assert not same(half.model.state_dict(), whole.model.state_dict())


def test_ignites_early_stopping_stops_the_student():
    student = new_student()
    evaluator = EvaluationEngine(student.model)
    scores = iter([0.5, 0.6, 0.6, 0.4, 0.9])
    stopping = EarlyStopping(patience=2, score_function=lambda _: next(scores), trainer=student)
    evaluator.add_event_handler(Events.COMPLETED, stopping)
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(LOADER) and None)
    student.run(LOADER, max_epochs=10)
    assert student.state.epoch == 4


@pytest.mark.parametrize("options", [{}, {"output_transform": lambda output: output["loss"]}])
def test_ignites_terminate_on_nan_stops_at_once(options):
    student = new_student()
    student.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan(**options))

    @student.on(DistillationEvents.LOSSES)
    def spoil():
        if student.state.iteration == 3:
            student.add_loss("spoiled", torch.tensor(math.nan))

    student.run(LOADER, max_epochs=2)
    assert student.state.iteration == 3


def test_terminate_ends_the_run_after_the_step():
    student = new_student()
    fired = []
    for event in (Events.TERMINATE, Events.EPOCH_COMPLETED, Events.COMPLETED):
        student.add_event_handler(event, lambda _, name: fired.append((name, student.state.iteration)), event.name)
    student.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: student.terminate())
    student.run(LOADER, max_epochs=1)
    assert fired == [("TERMINATE", 2), ("COMPLETED", 2)]


def test_an_exception_is_given_to_its_handler_and_raised_by_run():
    student = new_student()
    raised = []

    @student.on(Events.EXCEPTION_RAISED)
    def note(engine, error):
        raised.append((engine is student, error))
        raise error

    @student.on(DistillationEvents.LOSSES)
    def fail():
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken") as error:
        student.run(LOADER, max_epochs=1)
    assert raised[0] == (True, error.value)


def test_its_events_are_those_of_a_plain_engine_and_its_own():
    def trace(engine):
        lived = []

        def note(_, name):
            lived.append((name, engine.state.epoch, engine.state.iteration, engine.state.max_epochs))

        for event in set(Events) - {Events.EXCEPTION_RAISED}:
            engine.add_event_handler(event, note, event.name)
        return lived

    student, plain = new_student(), Engine(lambda engine, batch: None)
    lived, expected = trace(student), trace(plain)
    student.run(LOADER, max_epochs=2)
    plain.run(LOADER, max_epochs=2)
    assert lived == expected
    assert len(lived) == 1 + 2 * (1 + 4 * 4 + 1) + 1 + 1  # the loader's end and the run's beside what is in an epoch


@pytest.mark.parametrize("value", [torch.zeros(4, 3, 4, 4), {"images": 1}])
def test_a_loader_that_yields_something_else_is_refused(value):
    with pytest.raises(TypeError, match=r"a loader should yield Batch or \(images, labels\[, indices\]\)"):
        new_student().run([value], max_epochs=1)


def test_a_teacher_that_shares_parameters_with_its_student_is_refused():
    student = new_student()
    with pytest.raises(ValueError, match="share parameters"):
        TeacherEngine(student.model).attach(student)


def test_images_that_are_filled_anew_are_seen_anew():
    model = network()
    student, teacher = new_student(), TeacherEngine(model)
    teacher.attach(student)
    CrossEntropy().attach(student, name="labels")
    images, labels = torch.zeros(2, *LOADER[0][0].shape[1:], dtype=LOADER[0][0].dtype), torch.tensor([0, 1])
    shown = []
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda s: shown.append(s.state.teacher.logits.clone()))
    for filled in (0.0, 1.0):
        images.fill_(filled)
        student.run([Batch(images, labels)], max_epochs=1)
    assert not torch.equal(*shown)
    assert torch.equal(shown[1], model(images))


def test_an_evaluation_counts_a_batch_of_no_image_as_nothing():
    whole = TeacherEngine(network()).run(LOADER).metrics
    nothing = (LOADER[0][0][:0], LOADER[0][1][:0])
    assert TeacherEngine(network()).run([*LOADER, nothing]).metrics["loss"] == whole["loss"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_a_run_that_failed_the_next_one_goes_on(error):
    loader = [(torch.ones(2, 3, 4, 4), torch.tensor([0, 1]))] * 3
    model = models.build("mlp_4", 3, image_size=4)
    student = StudentEngine(model, SGD(model.parameters(), 0.1))
    CrossEntropy().attach(student)
    seen = []

    @student.on(Events.ITERATION_COMPLETED)
    def see(student):
        seen.append((student.state.epoch, student.state.iteration))
        if seen == [(1, 1), (1, 2), (1, 3), (2, 4)]:
            raise error

    with pytest.raises(error):
        student.run(loader, max_epochs=3)
    student.run(loader, max_epochs=3)
    assert seen[4:] == [(2, 5), (2, 6), (3, 7), (3, 8), (3, 9)]


def test_after_an_evaluation_that_failed_the_next_one_is_whole():
    evaluator = EvaluationEngine(models.build("mlp_4", 3, image_size=4))
    good = [(torch.ones(2, 3, 4, 4), torch.tensor([0, 1]))] * 3
    with pytest.raises(UserError):
        evaluator.run([good[0], (torch.ones(2, 3, 5, 4), torch.tensor([0, 1])), good[0]])
    assert 0 <= evaluator.run(good).metrics["accuracy"] <= 1
    assert evaluator.state.iteration == 3
