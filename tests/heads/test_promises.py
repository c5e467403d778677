"""What every head promises, for each that `heads.names()` knows: a new method is held to all of it at once."""

import copy
import inspect
import re

import pytest
import torch

from ignite_kd import heads, models
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.handlers import SeedSteps
from ignite_kd.models import WideResNet
from ignite_kd.representation import Batch, Features, Representation
from ignite_kd.together import run_together

CLASSES = 5
every_head = pytest.mark.parametrize("name", heads.names())
every_head_with_a_teacher = pytest.mark.parametrize("name", [name for name in heads.names() if name != "ce"])

# What a head cannot do without. Sixteen negatives are all that there are, so that nothing depends on the draw.
SETTINGS = {name: {"labels": torch.arange(20) % CLASSES, "negatives": 16} for name in ("crd", "wcord")}
SAME_WIDTH = ("fsp", "kdsvd", "imitation")  # compare channel by channel: they refuse other widths when they are built
ORDERED = ("cc",)  # multiplies the differences of consecutive rows, as released
# Zero where student and teacher say the same. The others compare what projectors make of it, or bound from below.
ZERO = ("kd", "at", "sp", "rkd", "pkt", "fsp", "nst", "kdsvd", "dkd", "dist", "logit-standardization", "imitation")
# A bias right before a batch norm, which subtracts it again: rounding apart, its gradient is zero.
SUBTRACTED = re.compile(r"(regressors|connectors)\.\d+\.conv\.bias|translator\.[036]\.bias")


def networks_for(name, networks):
    """(student, teacher): of other widths, where the method can."""
    return networks["same" if name in SAME_WIDTH else "other"]


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    student = WideResNet(10, 1, CLASSES)
    teachers = {"other": WideResNet(10, 2, CLASSES), "same": WideResNet(16, 1, CLASSES)}
    return {key: (student, teacher.eval().requires_grad_(False)) for key, teacher in teachers.items()}


def new_head(name, networks, seed=1, **options):
    torch.manual_seed(seed)
    student, teacher = networks_for(name, networks)
    return heads.build(name, student=student, teacher=teacher, **SETTINGS.get(name, {}), **options)


def value(head, given):
    """The loss of a head as it is: some heads draw, some remember what they have seen."""
    torch.manual_seed(0)
    return copy.deepcopy(head)(*given)


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


def inputs(name, networks, size=4):
    batch = new_batch(size)
    student, teacher = networks_for(name, networks)
    with torch.no_grad():
        return leaves(student, batch.images), teacher.represent(batch.images), batch


def new_student(precision="fp32"):
    torch.manual_seed(0)
    model = WideResNet(10, 1, CLASSES)
    return StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), precision=precision)


def taught(name, networks, precision="fp32"):
    """A student with this head, under a teacher."""
    student = new_student(precision)
    teacher = TeacherEngine(copy.deepcopy(networks_for(name, networks)[1]), precision=precision)
    teacher.attach(student)
    SeedSteps(0).attach(student)
    head = new_head(name, networks)
    return student, teacher, head, head.attach(student, factor=0.5)


def snapshot(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def finite(loss, student):
    assert loss.shape == ()
    assert loss.dtype is torch.float32
    assert loss.isfinite()
    loss.backward()
    gradients = [t.grad for t in tensors_of(student).values() if t.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    return any(gradient.any() for gradient in gradients)


@every_head
@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_loss_is_a_finite_scalar_with_a_gradient_for_the_student_at_any_batch_size(name, size, networks):
    student, teacher, batch = inputs(name, networks, size)
    moved = finite(new_head(name, networks)(student, teacher, batch), student)
    assert moved or (name, size) == ("rkd", 2)  # two images have one distance, which is the mean


@every_head_with_a_teacher
def test_no_gradient_reaches_a_teacher_whoever_runs_it(name, networks):
    student, _, batch = inputs(name, networks)
    teacher = leaves(networks_for(name, networks)[1], batch.images)
    new_head(name, networks)(student, teacher, batch).backward()
    assert all(t.grad is None for t in tensors_of(teacher).values())


@every_head
def test_a_batch_of_one_is_finite_though_relations_of_images_have_nothing_to_say(name, networks):
    student, teacher, batch = inputs(name, networks, 1)
    finite(new_head(name, networks)(student, teacher, batch), student)


@every_head
def test_the_gradient_is_that_of_finite_differences(name, networks):
    pair = [copy.deepcopy(network).double() for network in networks_for(name, networks)]
    batch = new_batch(3)
    student, teacher = leaves(pair[0], batch.images.double()), pair[1].represent(batch.images.double())
    head = new_head(name, networks).double()
    with torch.no_grad():
        head(student, teacher, batch)  # some take a constant from the first batch
    value(head, (student, teacher, batch)).backward()
    checked = 0
    for t in tensors_of(student).values():
        if t.grad is None:
            continue
        checked += 1
        direction = torch.randn(t.shape, dtype=t.dtype, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            sides = []
            for step in (1e-6, -1e-6):
                t.add_(direction, alpha=step)
                sides.append(value(head, (student, teacher, batch)).item())
                t.add_(direction, alpha=-step)
        slope = (sides[0] - sides[1]) / 2e-6
        assert (t.grad * direction).sum().item() == pytest.approx(slope, rel=2e-5, abs=1e-8)
    assert checked


@every_head
def test_the_same_inputs_give_the_same_loss_and_are_left_as_they_were(name, networks):
    head = new_head(name, networks)
    student, teacher, batch = inputs(name, networks)
    given = [*tensors_of(student).values(), *tensors_of(teacher).values(), *batch]
    before = [t.detach().clone() for t in given]
    losses = [value(head, (student, teacher, batch)) for _ in range(2)]
    losses[0].backward()
    assert torch.equal(losses[0], losses[1])
    assert all(torch.equal(t, old) for t, old in zip(given, before, strict=True))


def channels_last(seen):
    """The same values, laid out in memory as a fast network leaves them."""

    def laid_out(maps):
        return maps.contiguous(memory_format=torch.channels_last) if maps.dim() == 4 else maps

    groups = (
        {stage: laid_out(m.detach()) for stage, m in found.items()} for found in (seen.features, seen.before_relu)
    )
    return Representation(seen.logits, *map(Features, groups), seen.pooled)


@every_head
def test_how_maps_lie_in_memory_does_not_matter(name, networks):
    head, given = new_head(name, networks), inputs(name, networks)
    other = (channels_last(given[0]), channels_last(given[1]), given[2])
    torch.testing.assert_close(value(head, other), value(head, given), rtol=1e-4, atol=1e-6)


@every_head_with_a_teacher
def test_another_teacher_gives_another_loss(name, networks):
    head = new_head(name, networks)
    student, teacher, batch = inputs(name, networks)
    torch.manual_seed(9)
    other = WideResNet(16, 1, CLASSES) if name in SAME_WIDTH else WideResNet(10, 2, CLASSES)
    shown = other.eval().requires_grad_(False).represent(batch.images)
    assert value(head, (student, teacher, batch)) != value(head, (student, shown, batch))


@pytest.mark.parametrize("name", [name for name in heads.names() if name in ZERO])
def test_it_is_zero_where_the_teacher_says_the_same(name, networks):
    model = networks["same"][0]
    head = heads.build(name, student=model, teacher=model).double()
    batch = new_batch(4)
    model = copy.deepcopy(model).double()
    seen = leaves(model, batch.images.double())
    # dist adds 1e-8 to products of norms, and a fresh network's classes hardly differ
    seen.logits = 3 * torch.randn(4, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        loss = head(seen, seen, batch)
    assert loss.item() == pytest.approx(0, abs=1e-4 if name == "dist" else 1e-12)


@pytest.mark.parametrize("name", [name for name in heads.names() if name not in ORDERED])
def test_the_order_of_the_batch_does_not_matter(name, networks):
    pair = [copy.deepcopy(network).double() for network in networks_for(name, networks)]
    batch = new_batch(4)
    head = new_head(name, networks).double()
    losses = []
    for order in (torch.arange(4), torch.tensor([2, 0, 3, 1])):
        images = batch.images.double()[order]
        given = Batch(images, batch.labels[order], batch.indices[order])
        with torch.no_grad():
            losses.append(value(head, (leaves(pair[0], images), pair[1].represent(images), given)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@pytest.mark.parametrize("name", [name for name in heads.names() if not heads.kind(name).couples_batch])
def test_the_loss_of_a_batch_is_the_mean_of_its_images_unless_the_head_says_that_it_couples_them(name, networks):
    pair = [copy.deepcopy(network).double() for network in networks_for(name, networks)]
    batch = new_batch(4)
    head = new_head(name, networks).double().eval()  # batch norms of projectors couple images while they learn
    whole, *parts = (
        value(head, (leaves(pair[0], images), pair[1].represent(images), Batch(images, labels, indices))).item()
        for images, labels, indices in (
            (batch.images.double(), batch.labels, batch.indices),
            *((batch.images.double()[i : i + 1], batch.labels[i : i + 1], batch.indices[i : i + 1]) for i in range(4)),
        )
    )
    assert whole == pytest.approx(sum(parts) / 4, rel=1e-9)


def spoilt(given, how):
    """Representations in which something is dead: `zero` and `constant` channels, `equal` images."""
    spoil = {
        "zero": lambda t: torch.cat([torch.zeros_like(t[:, :1]), t[:, 1:]], 1),
        "constant": lambda t: torch.cat([torch.full_like(t[:, :1], 0.5), t[:, 1:]], 1),
        "all zero": torch.zeros_like,
        "equal images": lambda t: t[:1].expand_as(t).clone(),
    }[how]
    cut = {key: spoil(t.detach()).requires_grad_(t.requires_grad) for key, t in tensors_of(given).items()}
    return Representation(
        cut["logits"],
        Features({stage: cut[stage] for stage in given.features}),
        Features({stage: cut[f"{stage} before"] for stage in given.before_relu}),
        cut["pooled"],
    )


@every_head
@pytest.mark.parametrize("how", ["zero", "constant", "all zero", "equal images"])
@pytest.mark.parametrize("whose", ["student", "teacher", "both"])
def test_dead_channels_and_coinciding_images_leave_loss_and_gradients_finite(name, how, whose, networks):
    student, teacher, batch = inputs(name, networks)
    student = spoilt(student, how) if whose != "teacher" else student
    teacher = spoilt(teacher, how) if whose != "student" else teacher
    head = new_head(name, networks)
    finite(head(student, teacher, batch), student)
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


UNLIKE = [  # other sizes, widths and numbers of stages, either way
    ("resnet8", "vgg8"),
    ("vgg8", "resnet8"),
    ("MobileNetV2", "resnet8x4"),
    ("ShuffleV2", "wrn_10_1"),
    ("wrn_10_1", "ShuffleV1"),
    ("resnet8", "mlp_16"),
    ("mlp_16", "resnet8"),
]


@pytest.fixture(scope="module")
def unlike():
    torch.manual_seed(0)
    names = {name for pair in UNLIKE for name in pair}
    built = {name: models.build(name, CLASSES).eval() for name in sorted(names)}
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return {name: (model, model.represent(images)) for name, model in built.items()}


@every_head_with_a_teacher
@pytest.mark.parametrize("pair", UNLIKE, ids=" learns from ".join)
def test_unlike_networks_teach_each_other_or_are_refused_in_one_line_when_the_head_is_built(name, pair, unlike):
    (student, own), (teacher, shown) = (unlike[network] for network in pair)
    torch.manual_seed(1)
    try:
        head = heads.build(name, student=student, teacher=teacher, **SETTINGS.get(name, {}))
    except UserError as error:
        assert "\n" not in str(error)
        maps = "mlp_16" in pair and name in ("ab", "ft", "fsp", "ofd", "kdsvd", "reviewkd", "nst", "at")
        assert name in SAME_WIDTH or maps or (name == "ofd" and pair[1].startswith("Shuffle")), str(error)
        return
    cut = {key: t.detach().requires_grad_() for key, t in tensors_of(own).items()}
    seen = Representation(
        cut["logits"],
        Features({stage: cut[stage] for stage in own.features}),
        Features({stage: cut[f"{stage} before"] for stage in own.before_relu}),
        cut["pooled"],
    )
    assert finite(head(seen, shown, new_batch(4)), seen)


@every_head
def test_every_parameter_that_the_head_trains_gets_a_gradient(name, networks):
    head = new_head(name, networks)
    head(*inputs(name, networks)).backward()
    for parameter_name, parameter in head.named_parameters():
        if parameter.requires_grad and not SUBTRACTED.fullmatch(parameter_name):
            assert parameter.grad is not None and parameter.grad.any(), parameter_name


@every_head
def test_the_head_holds_no_parameter_of_the_networks(name, networks):
    own = {id(p) for p in new_head(name, networks).parameters()}
    assert not own & {id(p) for network in networks_for(name, networks) for p in network.parameters()}


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
    student, teacher, batch = inputs(name, networks)
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
        moved = not torch.equal(parameter, before["h"][key])
        assert moved is parameter.requires_grad or SUBTRACTED.fullmatch(key), key


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
    TeacherEngine(copy.deepcopy(networks_for(name, networks)[1])).attach(student)
    held = [id(p) for p in student.optimizer.param_groups[0]["params"]]
    saved = set(student.to_save())
    head = new_head(name, networks)
    handle = head.attach(student, factor=0.5)
    trained = [id(p) for p in head.parameters() if p.requires_grad]
    assert [id(p) for p in student.optimizer.param_groups[0]["params"]] == held + trained
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
    given = inputs(name, networks)
    assert torch.equal(value(loaded, given), value(head, given))
    if list(head.parameters()):
        assert not torch.equal(value(new_head(name, networks, seed=7), given), value(head, given))


@every_head
def test_the_options_are_the_defaults_of_the_constructor(name, networks):
    defaults = {k: v for k, v in heads.options(name).items() if k not in SETTINGS.get(name, {})}
    spelled = new_head(name, networks, **defaults)
    given = inputs(name, networks)
    assert torch.equal(value(spelled, given), value(new_head(name, networks), given))


@every_head
def test_the_docstring_has_the_formula_and_the_paper(name, networks):
    head = new_head(name, networks)
    text = inspect.getdoc(type(head))
    assert ".. math::" in text
    assert "arXiv:" in text or "CVPR" in text or not head.needs_teacher
    *_, year, where = heads.kind(name).paper.split(", ") if head.needs_teacher else ("", "", "")
    assert year in text and where in text
    for option in heads.options(name):
        assert f"\n    {option}:" in text, option
