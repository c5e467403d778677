import pytest
import torch
from ignite.engine.events import RemovableEventHandle
from torch import nn

from ignite_kd import heads
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.events import DistillationEvents
from ignite_kd.heads import KD, VID, CrossEntropy, Head
from ignite_kd.heads.base import at_least_float32, pool_to_smaller
from ignite_kd.models import MLP, WideResNet

LOADER = [(torch.linspace(-1, 1, 6).reshape(2, 3) * (i + 1), torch.tensor([0, 1])) for i in range(4)]


class Constant(Head):
    """A method of somebody's own: three lines."""

    name = "constant"
    needs_teacher = False

    def forward(self, student, teacher, batch):
        return student.logits.sum() * 0 + 3.0


def new_student():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_what_is_summed_and_logged_is_factor_times_forward():
    student = new_student()
    Constant().attach(student, factor=0.5)
    Constant().attach(student, factor=2.0, name="another")
    student.run(LOADER, max_epochs=1)
    assert {name: term.item() for name, term in student.state.output["losses"].items()} == {
        "constant": 1.5,
        "another": 6.0,
    }
    assert student.state.output["loss"].item() == 7.5


def test_a_factor_may_be_moved_while_training():
    student = new_student()
    Constant().attach(student)
    seen = []

    @student.on(DistillationEvents.BACKWARD_COMPLETED)
    def move():
        seen.append(student.state.losses["constant"].item())
        student.factors["constant"] /= 2

    student.run(LOADER, max_epochs=1)
    assert seen == [3.0, 1.5, 0.75, 0.375]


def test_attach_gives_ignites_handle_and_remove_stops_the_term():
    student = new_student()
    handle = Constant().attach(student)
    assert isinstance(handle, RemovableEventHandle)
    assert list(student.heads) == list(student.factors) == ["constant"]
    CrossEntropy().attach(student)
    handle.remove()
    handle.remove()  # a second time does nothing
    student.run(LOADER, max_epochs=1)
    assert list(student.state.output["losses"]) == list(student.heads) == ["ce"]


def test_an_event_that_is_refused_leaves_nothing_attached():
    student, head = new_student(), Constant()
    with pytest.raises(ValueError, match="event"):
        head.attach(student, event="no event")
    assert student.heads == {}
    head.attach(student)
    assert list(student.heads) == ["constant"]


def test_a_stage_is_a_with_block():
    student = new_student()
    CrossEntropy().attach(student)
    with Constant().attach(student):
        student.run(LOADER, max_epochs=1)
        assert set(student.state.output["losses"]) == {"ce", "constant"}
    student.run(LOADER, max_epochs=2)
    assert set(student.state.output["losses"]) == {"ce"}


def test_a_head_can_be_attached_to_every_second_step():
    student = new_student()
    CrossEntropy().attach(student)
    Constant().attach(student, event=DistillationEvents.LOSSES(every=2))
    steps = []

    @student.on(DistillationEvents.BACKWARD_COMPLETED)
    def note():
        if "constant" in student.state.losses:
            steps.append(student.state.iteration)

    student.run(LOADER, max_epochs=2)
    assert steps == [2, 4, 6, 8]


def test_a_head_that_needs_a_teacher_says_how_to_give_one():
    student = new_student()
    KD().attach(student)
    with pytest.raises(RuntimeError, match=r"the head 'kd' needs a teacher: teacher\.attach\(student\) before the run"):
        student.run(LOADER, max_epochs=1)


def test_a_head_without_forward_says_so():
    student = new_student()

    class Unwritten(Head):
        name = "unwritten"
        needs_teacher = False

    Unwritten().attach(student)
    with pytest.raises(NotImplementedError, match=r"Unwritten has no forward\(student, teacher, batch\) yet"):
        student.run(LOADER, max_epochs=1)


def test_the_teacher_may_leave_and_come_back():
    student = new_student()
    teacher = TeacherEngine(nn.Linear(3, 2))
    CrossEntropy().attach(student)
    with teacher.attach(student), KD().attach(student):
        student.run(LOADER, max_epochs=1)
        assert set(student.state.output["losses"]) == {"ce", "kd"}
    assert student.teacher is None
    student.run(LOADER, max_epochs=2)
    assert set(student.state.output["losses"]) == {"ce"}
    assert student.state.teacher is None


def test_build_makes_heads_for_two_models_and_knows_their_options():
    student, teacher = WideResNet(10, 1), WideResNet(10, 2)
    assert {"ce", "kd", "vid"} <= set(heads.names())
    assert heads.options("kd") == {"temperature": 4.0}
    assert heads.options("ce") == {}
    assert heads.build("kd", student=student, teacher=teacher, temperature=2.0).temperature == 2.0
    vid = heads.build("vid", student=student, teacher=teacher, stages="layer3")
    assert isinstance(vid, VID)
    assert [tuple(p.shape) for p in vid.parameters()] == [(128, 64, 1, 1), (128, 128, 1, 1), (128, 1, 1)]
    assert isinstance(heads.build("ce", student=student), CrossEntropy)


@pytest.mark.parametrize(
    ("word", "settings", "message"),
    [
        ("vidd", {}, "unknown method 'vidd'; did you mean 'vid'?"),
        ("kd", {"temprature": 2}, "unknown option of kd 'temprature'; did you mean 'temperature'?"),
        ("vid", {"student_channels": {}}, "unknown option of vid 'student_channels'"),
    ],
)
def test_build_refuses_what_it_does_not_know_with_the_nearest_word(word, settings, message):
    model = WideResNet(10, 1)
    with pytest.raises(UserError) as error:
        heads.build(word, student=model, teacher=model, **settings)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_build_refuses_a_method_without_its_teacher():
    with pytest.raises(UserError, match="the method 'kd' needs a teacher"):
        heads.build("kd", student=MLP(4, 1, image_size=2))


def test_half_precision_becomes_float32_and_the_rest_stays():
    for dtype, expected in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert at_least_float32(torch.ones(2, dtype=dtype)).dtype is expected


def block_means(maps, factor):
    """Average pooling in plain Python."""
    images, channels, height, width = maps.shape
    pooled = torch.zeros(images, channels, height // factor, width // factor, dtype=maps.dtype)
    for n, c, y, x in torch.cartesian_prod(*map(torch.arange, pooled.shape)).tolist():
        block = maps[n, c, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].flatten().tolist()
        pooled[n, c, y, x] = sum(block) / len(block)
    return pooled


def test_the_larger_map_is_pooled_to_the_smaller_whoever_has_it():
    big = torch.arange(2 * 3 * 4 * 4, dtype=torch.float64).reshape(2, 3, 4, 4).sin()
    small = torch.arange(2 * 5 * 2 * 2, dtype=torch.float64).reshape(2, 5, 2, 2).cos()
    torch.testing.assert_close(pool_to_smaller(big, small)[0], block_means(big, 2), rtol=1e-12, atol=0)
    torch.testing.assert_close(pool_to_smaller(small, big)[1], block_means(big, 2), rtol=1e-12, atol=0)
    flat, tall = torch.ones(1, 2, 1, 5), torch.ones(1, 2, 3, 2)
    assert [x.shape[2:] for x in pool_to_smaller(flat, tall)] == [(1, 2), (1, 2)]
    assert pool_to_smaller(big, small)[1] is small
    assert pool_to_smaller(small, big)[0] is small
    assert pool_to_smaller(big, big) == (big, big)


def test_vectors_count_as_maps_of_one_pixel():
    vector = torch.arange(6.0).reshape(2, 3)
    maps = torch.arange(2 * 5 * 2 * 2, dtype=torch.float32).reshape(2, 5, 2, 2)
    student, teacher = pool_to_smaller(vector, maps)
    assert student.shape == (2, 3, 1, 1)
    assert torch.equal(student.flatten(), vector.flatten())
    torch.testing.assert_close(teacher, block_means(maps, 2))
    student, teacher = pool_to_smaller(maps, vector)
    torch.testing.assert_close(student, block_means(maps, 2))
    assert teacher.shape == (2, 3, 1, 1)
