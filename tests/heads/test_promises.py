"""What every head promises, for each that `heads.names()` knows: a new method is held to all of it at once."""

import copy
import inspect

import pytest
import torch

from ignite_kd import heads
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.models import WideResNet
from ignite_kd.representation import Batch, Features, Representation
from ignite_kd.together import run_together

CLASSES = 5
every_head = pytest.mark.parametrize("name", heads.names())
every_head_with_a_teacher = pytest.mark.parametrize(
    "name",
    [name for name in heads.names() if heads.build(name, student=WideResNet(10), teacher=WideResNet(10)).needs_teacher],
)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return WideResNet(10, 1, CLASSES), WideResNet(10, 2, CLASSES).eval().requires_grad_(False)


def new_head(name, networks, seed=1):
    torch.manual_seed(seed)
    return heads.build(name, student=networks[0], teacher=networks[1])


def new_batch(size):
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(size, 3, 16, 16, generator=generator)
    return Batch(images, torch.arange(size) % CLASSES, 3 * torch.arange(size) + 1)


def tensors_of(seen):
    return {"logits": seen.logits, "pooled": seen.pooled, **seen.features} | {
        f"{stage} before": maps for stage, maps in seen.before_relu.items()
    }


def leaves(model, images):
    """What the model says, each tensor cut off from the others, so that each has a gradient of its own."""
    seen = model.eval().represent(images)
    cut = {key: t.detach().requires_grad_() for key, t in tensors_of(seen).items()}
    return Representation(
        cut["logits"],
        Features({stage: cut[stage] for stage in seen.features}),
        Features({stage: cut[f"{stage} before"] for stage in seen.before_relu}),
        cut["pooled"],
    )


def inputs(networks, size=4):
    batch = new_batch(size)
    student = leaves(networks[0], batch.images)
    with torch.no_grad():
        return student, networks[1].represent(batch.images), batch


def new_student(precision="fp32"):
    torch.manual_seed(0)
    model = WideResNet(10, 1, CLASSES)
    return StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), precision=precision)


def taught(name, networks, precision="fp32"):
    """A student with this head, under a teacher."""
    student, teacher = new_student(precision), TeacherEngine(copy.deepcopy(networks[1]), precision=precision)
    teacher.attach(student)
    head = new_head(name, networks)
    return student, teacher, head, head.attach(student, factor=0.5)


def snapshot(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


@every_head
@pytest.mark.parametrize("size", [1, 3, 4])
def test_the_loss_is_a_finite_scalar_with_a_gradient_for_the_student_at_any_batch_size(name, size, networks):
    student, teacher, batch = inputs(networks, size)
    loss = new_head(name, networks)(student, teacher, batch)
    assert loss.shape == ()
    assert loss.dtype is torch.float32
    assert loss.isfinite()
    loss.backward()
    gradients = [t.grad for t in tensors_of(student).values() if t.grad is not None]
    assert any(gradient.any() for gradient in gradients)
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_head
def test_the_gradient_is_that_of_finite_differences(name, networks):
    networks = [copy.deepcopy(network).double() for network in networks]
    images = new_batch(2).images.double()
    student, teacher = leaves(networks[0], images), networks[1].represent(images)
    head, batch = new_head(name, networks).double(), new_batch(2)
    head(student, teacher, batch).backward()
    checked = 0
    for t in tensors_of(student).values():
        if t.grad is None:
            continue
        checked += 1
        direction = torch.randn(t.shape, dtype=t.dtype, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            sides = []
            for step in (1e-5, -1e-5):
                t.add_(direction, alpha=step)
                sides.append(head(student, teacher, batch).item())
                t.add_(direction, alpha=-step)
        slope = (sides[0] - sides[1]) / 2e-5
        assert (t.grad * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-9)
    assert checked


@every_head
def test_the_same_inputs_give_the_same_loss_and_are_left_as_they_were(name, networks):
    head = new_head(name, networks)
    student, teacher, batch = inputs(networks)
    given = [*tensors_of(student).values(), *tensors_of(teacher).values(), *batch]
    before = [t.detach().clone() for t in given]
    losses = [copy.deepcopy(head)(student, teacher, batch) for _ in range(2)]
    losses[0].backward()
    assert torch.equal(losses[0], losses[1])
    assert all(torch.equal(t, old) for t, old in zip(given, before, strict=True))


@every_head_with_a_teacher
def test_another_teacher_gives_another_loss(name, networks):
    head = new_head(name, networks)
    student, teacher, batch = inputs(networks)
    torch.manual_seed(9)
    other = WideResNet(10, 2, CLASSES).eval().requires_grad_(False).represent(batch.images)
    assert head(student, teacher, batch) != head(student, other, batch)


@every_head
def test_every_parameter_of_the_head_gets_a_gradient(name, networks):
    head = new_head(name, networks)
    head(*inputs(networks)).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), parameter_name


@every_head
def test_the_head_holds_no_parameter_of_the_networks(name, networks):
    own = {id(p) for p in new_head(name, networks).parameters()}
    assert not own & {id(p) for network in networks for p in network.parameters()}


@every_head
def test_the_loss_is_float32_under_bfloat16_autocast(name, networks):
    student, *_ = taught(name, networks, precision="bf16")
    student.run([new_batch(4)] * 2, max_epochs=1)
    assert student.state.student.logits.dtype is torch.bfloat16
    term = student.state.output["losses"][name]
    assert term.dtype is torch.float32
    assert term.isfinite()


@every_head
def test_the_loss_is_finite_at_huge_bfloat16_logits(name, networks):
    student, teacher, batch = inputs(networks)
    signs = 60000.0 * (1 - 2 * (torch.arange(4 * CLASSES).reshape(4, CLASSES) % 2)).bfloat16()
    student.logits, teacher.logits = signs.clone().requires_grad_(), -signs
    loss = new_head(name, networks)(student, teacher, batch)
    loss.backward()
    assert loss.dtype is torch.float32
    assert loss.isfinite()
    assert student.logits.grad is None or student.logits.grad.isfinite().all()


@every_head
def test_a_run_teaches_student_and_head_and_leaves_the_teacher_alone(name, networks):
    student, teacher, head, _ = taught(name, networks)
    before = {key: snapshot(module) for key, module in (("s", student.model), ("t", teacher.model), ("h", head))}
    student.run([new_batch(4)], max_epochs=2)
    assert not same(before["s"], student.model.state_dict())
    assert same(before["t"], teacher.model.state_dict())
    assert all(p.grad is None and not p.requires_grad for p in teacher.model.parameters())
    for key, parameter in head.named_parameters():
        assert not torch.equal(parameter, before["h"][key]), key


@every_head
def test_beside_a_classmate_it_learns_the_same_bits_as_alone(name, networks):
    loader = [new_batch(4), new_batch(3)]
    alone, _, own, _ = taught(name, networks)
    alone.run(loader, max_epochs=2)
    student, teacher, head, _ = taught(name, networks)
    classmate = new_student()
    teacher.attach(classmate)
    heads.build("kd", student=classmate.model, teacher=teacher.model).attach(classmate)
    run_together([classmate, student], loader, max_epochs=2)
    assert same(student.model.state_dict(), alone.model.state_dict())
    assert same(head.state_dict(), own.state_dict())


@every_head
def test_attaching_registers_the_head_and_removing_undoes_it(name, networks):
    student = new_student()
    TeacherEngine(copy.deepcopy(networks[1])).attach(student)
    held = [id(p) for p in student.optimizer.param_groups[0]["params"]]
    saved = set(student.to_save())
    head = new_head(name, networks)
    handle = head.attach(student, factor=0.5)
    assert [id(p) for p in student.optimizer.param_groups[0]["params"]] == held + [id(p) for p in head.parameters()]
    assert set(student.to_save()) == saved | {f"head.{name}"}
    assert student.to_save()[f"head.{name}"] is head
    assert student.factors == {name: 0.5}
    student.run([new_batch(4)], max_epochs=1)
    handle.remove()
    assert [id(p) for p in student.optimizer.param_groups[0]["params"]] == held
    assert set(student.to_save()) == saved
    assert student.factors == {}
    with pytest.raises(RuntimeError, match="no loss was added"):
        student.run([new_batch(4)], max_epochs=2)


@every_head
def test_a_state_dict_carries_all_that_the_head_has_learned(name, networks):
    student, _, head, _ = taught(name, networks)
    student.run([new_batch(4)], max_epochs=3)
    loaded = new_head(name, networks, seed=7)
    loaded.load_state_dict(copy.deepcopy(head.state_dict()))
    given = inputs(networks)
    assert torch.equal(loaded(*given), head(*given))
    if list(head.parameters()):
        assert not torch.equal(new_head(name, networks, seed=7)(*given), head(*given))


@every_head
def test_the_options_are_the_defaults_of_the_constructor(name, networks):
    torch.manual_seed(1)
    spelled = heads.build(name, student=networks[0], teacher=networks[1], **heads.options(name))
    given = inputs(networks)
    assert torch.equal(spelled(*given), new_head(name, networks)(*given))


@every_head
def test_the_docstring_has_the_formula_and_the_paper(name, networks):
    head = new_head(name, networks)
    text = inspect.getdoc(type(head))
    assert ".. math::" in text
    assert "arXiv:" in text or not head.needs_teacher
    for option in heads.options(name):
        assert f"\n    {option}:" in text, option
