import copy
import io
import itertools

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping, ProgressBar
from torch import nn

from ignite_kd.data.augmentation import Augmentation
from ignite_kd.data.dataset import Images
from ignite_kd.data.stream import Stream
from ignite_kd.engines import EvaluationEngine, StudentEngine, TeacherEngine
from ignite_kd.events import DistillationEvents
from ignite_kd.heads import KD, VID, CrossEntropy
from ignite_kd.models import WideResNet
from ignite_kd.representation import Batch
from ignite_kd.together import run_together, step_together

GENERATOR = torch.Generator().manual_seed(1)
LOADER = [(torch.randn(4, 3, 4, 4, generator=GENERATOR), torch.tensor([0, 1, 2, i % 3])) for i in range(3)]
DATA = Images(torch.randint(0, 256, (10, 3, 4, 4), dtype=torch.uint8, generator=GENERATOR), torch.arange(10) % 3)
# every event of ignite, but INTERRUPT, which is the pause itself, and EXCEPTION_RAISED, which has tests of its own
EVENTS = [e for e in Events if e not in (Events.INTERRUPT, Events.EXCEPTION_RAISED)]


def new_student(seed=0, *heads):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    for head in heads or (CrossEntropy(),):
        head.attach(student)
    return student


def new_teacher():
    torch.manual_seed(99)
    return TeacherEngine(WideResNet(10, 1, 3))


def taught(teacher, method):
    """One of three students that differ in method, factor and learning rate."""
    torch.manual_seed(method)
    model = WideResNet(10, 1, 3)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.1 / (method + 1), momentum=0.9))
    teacher.attach(student)
    CrossEntropy().attach(student)
    if method != 1:
        KD().attach(student, factor=0.5)
    if method != 0:
        VID.for_models(model, teacher.model).attach(student, factor=0.1)
    return student


def trace(engine, *more):
    """What the engine lives: (event, epoch, iteration, epoch_length, max_epochs) of every event."""
    lived = []

    def note(_, *words, **__):
        state = engine.state
        lived.append((words[-1], state.epoch, state.iteration, state.epoch_length, state.max_epochs))

    for event in (*EVENTS, *more):
        engine.add_event_handler(event, note, event.name)
    return lived


def followed(student):
    """The positions of the images of every batch that the student meets."""
    order = []
    student.add_event_handler(Events.ITERATION_STARTED, lambda: order.append(student.state.batch.indices.tolist()))
    return order


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def all_same(student, other):
    assert same(student.model, other.model)
    assert list(student.heads) == list(other.heads)
    assert all(same(student.heads[name], other.heads[name]) for name in student.heads)
    return True


def stream():
    return Stream(DATA, 4, mean=(0.5,) * 3, std=(0.2,) * 3, augmentation=Augmentation(1), shuffle=True, seed=3)


# ----------------------------------------------------------------------------------------- as if each were alone


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("epochs", [1, 3])
def test_students_run_together_live_the_events_of_an_engine_run_alone(count, epochs):
    plain = Engine(lambda engine, batch: None)
    expected = trace(plain)
    plain.run(LOADER, max_epochs=epochs)
    students = [new_student(seed) for seed in range(count)]
    lived = [trace(student) for student in students]
    run_together(students, LOADER, max_epochs=epochs)
    assert lived == [expected] * count


def test_their_own_events_come_in_their_places_too():
    alone = new_student()
    expected = trace(alone, *DistillationEvents)
    alone.run(LOADER, max_epochs=2)
    students = [new_student(seed) for seed in range(2)]
    lived = [trace(student, *DistillationEvents) for student in students]
    run_together(students, LOADER, max_epochs=2)
    assert lived == [expected] * 2


@pytest.mark.parametrize("data", [lambda: LOADER, stream], ids=["list", "stream"])
def test_students_do_not_feel_each_other(data):
    teacher = new_teacher()
    students = [taught(teacher, method) for method in range(3)]
    states = run_together(students, data(), max_epochs=2)
    assert [state is student.state for state, student in zip(states, students, strict=True)] == [True] * 3
    for method, student in enumerate(students):
        alone = taught(new_teacher(), method)
        alone.run(data(), max_epochs=2)
        assert all_same(student, alone)
        assert student.state.output["loss"].item() == alone.state.output["loss"].item()
        assert (student.state.epoch, student.state.iteration) == (2, 6)


def test_a_stream_gives_the_same_batches_as_to_a_student_alone():
    alone, students = new_student(), [new_student() for _ in range(2)]
    expected, orders = followed(alone), [followed(student) for student in students]
    alone.run(stream(), max_epochs=3)
    run_together(students, stream(), max_epochs=3)
    assert orders == [expected] * 2
    assert len({str(batch) for batch in expected}) == 9


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("batch_statistics", [False, True])
def test_the_teacher_looks_once_at_each_batch_however_many_learn(count, batch_statistics):
    torch.manual_seed(99)
    model = WideResNet(10, 1, 3)
    teacher = TeacherEngine(model, batch_statistics=batch_statistics)
    seen = []
    model.conv1.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].sum().item()))
    run_together([taught(teacher, method) for method in range(count)], LOADER, max_epochs=2)
    assert seen == [images.sum().item() for images, _ in LOADER] * 2
    counted = {int(value) for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")}
    assert counted == ({6} if batch_statistics else {0})


def test_the_teacher_looks_at_each_batch_of_a_loader_of_one():
    seen = []
    teacher = new_teacher()
    teacher.model.conv1.register_forward_hook(lambda *_: seen.append(1))
    run_together([taught(teacher, method) for method in range(2)], LOADER[:1], max_epochs=3)
    assert len(seen) == 3


def test_a_batch_is_moved_once_for_all(monkeypatch):
    def move(batch, device):
        """As to a GPU: a copy the first time, the same tensor afterwards."""
        if getattr(batch.images, "is_moved", False):
            return batch
        images = batch.images.clone()
        images.is_moved = True
        return Batch(images, batch.labels, batch.indices)

    monkeypatch.setattr(Batch, "to", move)
    teacher, seen = new_teacher(), []
    teacher.model.conv1.register_forward_hook(lambda *_: seen.append(1))
    students = [taught(teacher, method) for method in range(3)]
    run_together(students, LOADER, max_epochs=2)
    assert len(seen) == 6
    assert len({id(student.state.batch.images) for student in students}) == 1


def test_a_student_that_is_named_twice_is_refused():
    student = new_student()
    with pytest.raises(ValueError, match="named twice"):
        run_together([student, student], stream(), 1)
    assert student.state.iteration == 0


def test_a_loader_without_a_length_is_refused():
    with pytest.raises(TypeError, match="a generator has none; make it a list"):
        run_together([new_student()], (batch for batch in LOADER), 1)


def test_nobody_teaches_nobody_runs():
    assert run_together([], LOADER, max_epochs=2) == []


def test_progress_bars_show_every_students_progress():
    written = [io.StringIO(), io.StringIO()]
    students = [new_student(seed) for seed in range(2)]
    for student, file in zip(students, written, strict=True):
        ProgressBar(persist=True, file=file).attach(student)
    run_together(students, LOADER, max_epochs=2)
    for file in written:
        assert "Epoch [1/2]" in file.getvalue()
        assert "Epoch [2/2]" in file.getvalue()
        assert file.getvalue().count("[3/3]") >= 2


def test_an_evaluation_of_one_is_not_felt_by_the_others():
    students = [new_student(seed) for seed in range(2)]
    found = []

    @students[0].on(Events.EPOCH_COMPLETED)
    def evaluate(student):
        found.append(EvaluationEngine(student.model).run(LOADER).metrics["accuracy"])

    run_together(students, LOADER, max_epochs=2)
    assert len(found) == 2
    for seed, student in enumerate(students):
        alone = new_student(seed)
        alone.run(LOADER, max_epochs=2)
        assert all_same(student, alone)


# ---------------------------------------------------------------------------------------------- who leaves early


def leaving(student, iteration, **options):
    student.add_event_handler(Events.ITERATION_COMPLETED(once=iteration), lambda: student.terminate(**options))
    return student


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("iteration", [2, 3, 6])
def test_a_student_that_terminates_leaves_and_the_others_go_on(place, iteration):
    alone = leaving(new_student(), iteration)
    expected = trace(alone)
    alone.run(LOADER, max_epochs=2)
    students = [new_student(seed) for seed in (5, 6)]
    students.insert(place, leaving(new_student(), iteration))
    lived = [trace(student) for student in students]
    run_together(students, LOADER, max_epochs=2)
    assert lived[place] == expected
    assert all_same(students[place], alone)
    for seed, student in zip((5, 6), students[:place] + students[place + 1 :], strict=True):
        whole = new_student(seed)
        whole.run(LOADER, max_epochs=2)
        assert all_same(student, whole)


def test_terminate_may_skip_the_completed_event():
    student = leaving(new_student(), 2, skip_completed=True)
    lived = trace(student)
    run_together([student, new_student(1)], LOADER, max_epochs=2)
    assert [name for name, *_ in lived[-2:]] == ["ITERATION_COMPLETED", "TERMINATE"]


def test_where_all_have_left_no_further_batch_is_drawn():
    drawn = []

    class Counting(list):
        def __iter__(self):
            for batch in super().__iter__():
                drawn.append(1)
                yield batch

    students = [leaving(new_student(), 1), leaving(new_student(1), 2)]
    run_together(students, Counting(LOADER), max_epochs=50)
    assert [student.state.iteration for student in students] == [1, 2]
    assert len(drawn) <= 3


@pytest.mark.parametrize("iteration", [1, 2, 3, 5])
@pytest.mark.parametrize("data", [lambda: LOADER, stream], ids=["list", "stream"])
def test_terminate_epoch_shortens_one_students_epoch_as_alone(data, iteration):
    def short():
        student = new_student()
        student.add_event_handler(Events.ITERATION_COMPLETED(once=iteration), lambda: student.terminate_epoch())
        return student, trace(student)

    alone, expected = short()
    alone.run(data(), max_epochs=3)
    student, lived = short()
    other = new_student(1)
    usual = trace(other)
    run_together([student, other], data(), max_epochs=3)
    assert lived == expected
    assert [name for name, *_ in lived].count("TERMINATE_SINGLE_EPOCH") == 1
    assert [name for name, *_ in usual].count("ITERATION_COMPLETED") == 9
    if data is stream:  # it goes on where it is; a list begins again for a student alone, but not for a classmate
        assert all_same(student, alone)


def test_early_stopping_stops_one():
    students = [new_student(seed) for seed in range(2)]
    stopping = EarlyStopping(patience=2, score_function=lambda engine: -engine.state.epoch, trainer=students[0])
    students[0].add_event_handler(Events.EPOCH_COMPLETED, stopping)
    run_together(students, LOADER, max_epochs=6)
    assert [student.state.epoch for student in students] == [3, 6]


# ----------------------------------------------------------------------------------------------- what goes wrong


class Broken(RuntimeError):
    pass


def breaking(student, iteration):
    @student.on(DistillationEvents.LOSSES)
    def fail():
        if student.state.iteration == iteration and not student.broken:
            student.broken = True
            raise Broken("this one")

    student.broken = False
    return student


def handlers_of(student):
    return {event: len(handlers) for event, handlers in student._event_handlers.items() if handlers}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_exception_in_one_is_told_to_it_and_raised(place):
    students = [new_student(seed) for seed in (5, 6)]
    students.insert(place, breaking(new_student(), 2))
    told = []

    @students[place].on(Events.EXCEPTION_RAISED)
    def note(engine, error):
        told.append(error)
        raise error

    before = [handlers_of(student) for student in students]
    with pytest.raises(Broken, match="this one") as error:
        run_together(students, LOADER, max_epochs=2)
    assert told[0] is error.value
    assert [handlers_of(student) for student in students] == before


@pytest.mark.parametrize("place", [0, 1])
def test_after_an_exception_each_student_goes_on_from_its_iteration_with_the_loader_that_is_given(place):
    students = [new_student(5)]
    students.insert(place, breaking(new_student(), 2))
    with pytest.raises(Broken):
        run_together(students, LOADER, max_epochs=2)
    for student in students:
        done = student.state.iteration
        seen = []
        student.add_event_handler(
            Events.ITERATION_STARTED,
            lambda engine, seen=seen: seen.append((engine.state.epoch, engine.state.batch.indices.tolist())),
        )
        numbered = [(images, labels, torch.tensor([i])) for i, (images, labels) in enumerate(LOADER)]
        student.run(numbered, max_epochs=2)
        assert [epoch for epoch, _ in seen] == [1] * (3 - done) + [2] * 3
        assert len({index for _, (index,) in seen}) == 3
        assert (student.state.epoch, student.state.iteration) == (2, 6)


def test_an_error_of_the_loader_is_raised_and_a_further_run_goes_on():
    class Torn(list):
        torn = True

        def __iter__(self):
            yield from self[:2]
            if self.torn:
                raise OSError("disk")
            yield from self[2:]

    students, loader = [new_student(seed) for seed in range(2)], Torn(LOADER)
    with pytest.raises(OSError, match="disk"):
        run_together(students, loader, max_epochs=2)
    assert [student.state.iteration for student in students] == [2, 2]
    loader.torn = False
    run_together(students, loader, max_epochs=2)
    assert [(student.state.epoch, student.state.iteration) for student in students] == [(2, 6)] * 2


def test_a_loader_that_gives_nothing_is_an_error_and_not_an_endless_wait():
    class Empty:
        def __len__(self):
            return 3

        def __iter__(self):
            return iter(())

    with pytest.raises(RuntimeError, match="the loader has a length of 3, but gave no batch at iteration 0"):
        run_together([new_student()], Empty(), max_epochs=2)


def test_an_empty_loader_is_refused_as_ignite_refuses_it():
    with pytest.raises(ValueError, match="zero size"):
        run_together([new_student()], [], max_epochs=2)


def test_students_at_different_iterations_of_a_plain_list_are_refused():
    students = [new_student(seed) for seed in range(2)]
    students[1].run(LOADER, max_epochs=1)
    before = [{key: value.clone() for key, value in student.model.state_dict().items()} for student in students]
    with pytest.raises(ValueError, match=r"students at different iterations \(\[0, 3\]\) need a loader with seek"):
        run_together(students, LOADER, max_epochs=2)
    for student, state in zip(students, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in student.model.state_dict().items())


@pytest.mark.parametrize("ahead", [2, 3, 4])  # within the first epoch, at its end, within the second
def test_students_that_are_behind_catch_up_and_all_end_as_alone(ahead):
    alone = [new_student(seed) for seed in range(3)]
    for student in alone:
        student.run(stream(), max_epochs=3)
    students = [new_student(seed) for seed in range(3)]
    resumed, states = new_student(1), []
    resumed.add_event_handler(
        Events.ITERATION_COMPLETED(once=ahead),
        lambda s: states.append([copy.deepcopy(part.state_dict()) for part in (s, s.model, s.optimizer)]),
    )
    resumed.run(stream(), max_epochs=3)
    for part, state in zip((students[1], students[1].model, students[1].optimizer), states[0], strict=True):
        part.load_state_dict(state)
    run_together(students, stream(), max_epochs=3)
    assert all(map(all_same, students, alone))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_student_that_fails_may_leave_alone(place):
    alone = [new_student(seed) for seed in (5, 6)]
    for student in alone:
        student.run(stream(), max_epochs=2)
    students = [new_student(seed) for seed in (5, 6)]
    broken = breaking(new_student(), 2)
    failures = []
    run_together(
        [*students[:place], broken, *students[place:]],
        stream(),
        max_epochs=2,
        failed=lambda student, error: failures.append((student, str(error))),
    )
    assert failures == [(broken, "this one")]
    assert all(map(all_same, students, alone))
    assert broken.state.iteration == 2


# ----------------------------------------------------------------------------------------------------- once more


@pytest.mark.parametrize("data", [lambda: LOADER, stream], ids=["list", "stream"])
def test_run_again_with_more_epochs_they_go_on(data):
    teacher = new_teacher()
    students = [taught(teacher, method) for method in range(2)]
    run_together(students, data(), max_epochs=1)
    lived = [trace(student) for student in students]
    run_together(students, data(), max_epochs=3)
    for method, student in enumerate(students):
        alone = taught(new_teacher(), method)
        alone.run(data(), max_epochs=1)
        expected = trace(alone)
        alone.run(data(), max_epochs=3)
        assert lived[method] == expected
        assert all_same(student, alone)


def test_run_again_with_the_same_epochs_they_begin_anew_as_an_engine_alone_does():
    alone, students = new_student(), [new_student(), new_student(1)]
    alone.run(LOADER, max_epochs=2)
    run_together(students, LOADER, max_epochs=2)
    expected, lived = trace(alone), [trace(student) for student in students]
    alone.run(LOADER, max_epochs=2)
    run_together(students, LOADER, max_epochs=2)
    assert lived == [expected] * 2
    assert all_same(students[0], alone)


def test_a_student_that_left_in_its_last_epoch_begins_anew_as_alone():
    alone, student = leaving(new_student(), 5), leaving(new_student(), 5)
    alone.run(stream(), max_epochs=2)
    run_together([student], stream(), max_epochs=2)
    expected, seen, lived = followed(alone), followed(student), trace(student)
    expected_events = trace(alone)
    alone.run(stream(), max_epochs=2)
    run_together([student, new_student(1)], stream(), max_epochs=2)
    assert seen == expected
    assert lived == expected_events


def test_students_that_forget_their_last_epoch_begin_anew_as_alone():
    alone, student = new_student(), new_student()
    alone.run(stream(), max_epochs=1)
    run_together([student], stream(), max_epochs=1)
    expected, seen = followed(alone), followed(student)
    alone.state.max_epochs = student.state.max_epochs = None  # ignite's way to say so
    alone.run(stream(), max_epochs=2)
    run_together([student, new_student(1)], stream(), max_epochs=2)
    assert seen == expected
    assert all_same(student, alone)


@pytest.mark.parametrize("data", [lambda: LOADER, stream], ids=["list", "stream"])
def test_students_loaded_from_the_middle_of_an_epoch_live_and_learn_as_alone(data):
    def loaded():
        student = new_student()
        student.load_state_dict({"epoch_length": 3, "max_epochs": 3, "iteration": 4})
        return student, trace(student)

    alone, expected = loaded()
    alone.run(data(), max_epochs=3)
    (first, lived), (second, also_lived) = loaded(), loaded()
    run_together([first, second], data(), max_epochs=3)
    assert lived == also_lived == expected
    assert all_same(first, alone)


class Endless:
    """Never at an end; what is an epoch, its length says."""

    def __len__(self):
        return 3

    def __iter__(self):
        return itertools.cycle([*LOADER, *[(-images, labels) for images, labels in LOADER]])


def test_an_endless_loader_is_drawn_from_as_often_as_there_are_steps():
    drawn = []

    class Counting(Endless):
        def __iter__(self):
            for batch in super().__iter__():
                drawn.append(1)
                yield batch

    alone, students = new_student(), [new_student(), new_student(1)]
    alone.run(Endless(), max_epochs=3)
    run_together(students, Counting(), max_epochs=3)
    assert len(drawn) == 9
    assert all_same(students[0], alone)


def test_step_together_stops_after_each_batch_and_what_is_given_up_may_be_run_on():
    alone, students = new_student(), [new_student(), new_student(1)]
    alone.run(stream(), max_epochs=2)
    steps = step_together(students, stream(), max_epochs=2)
    for done in (1, 2, 3, 4):
        next(steps)
        assert [student.state.iteration for student in students] == [done, done]
    steps.close()
    run_together(students, stream(), max_epochs=2)
    assert all_same(students[0], alone)


def test_students_loaded_from_the_middle_of_an_epoch_see_the_batches_that_are_left():
    whole = [new_student(seed) for seed in range(2)]
    states = []
    for student in whole:
        student.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda s: states.append(s.state_dict()))
    run_together(whole, stream(), max_epochs=3)
    resumed = [new_student(seed) for seed in range(2)]
    orders = [followed(student) for student in resumed]
    for student, state in zip(resumed, states, strict=True):
        student.load_state_dict(state)
    run_together(resumed, stream(), max_epochs=3)
    loader, expected = stream(), []
    loader.seek(4)
    while len(expected) < 5:
        expected += [batch.indices.tolist() for batch in loader]
    assert orders == [expected] * 2
