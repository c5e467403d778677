from dataclasses import replace

import pytest
import torch
from ignite.engine import Events

from ignite_kd import data, models, recipes
from ignite_kd.bench.images import random_images
from ignite_kd.bench.package_loop import PackageLoop
from ignite_kd.plan import Plan, Term

DATASET = random_images("cifar10", 10, train=40, test=8)  # 32 images to learn from: four batches an epoch


@pytest.fixture
def plan(tmp_path):
    torch.manual_seed(0)
    torch.save(models.build("mlp_8", 10).state_dict(), tmp_path / "teacher.th")
    return Plan(
        student="mlp_8",
        teacher="mlp_8",
        teacher_path=str(tmp_path / "teacher.th"),
        recipe=recipes.get("vid,batch_size=8"),
        terms=(Term("ce"), Term("kd", 1.0, {"temperature": 2.0})),
        device="cpu",
        compile="off",
        output_dir=str(tmp_path / "run"),
    )


@pytest.fixture
def start(plan, tmp_path):
    loops = []

    def start(students=1, **others):
        own = replace(plan, output_dir=str(tmp_path / f"run-{len(loops)}"))
        loops.append(PackageLoop(own, students, DATASET, **others))
        return loops[-1]

    yield start
    for loop in loops:
        loop.close()


def plainly(loop, steps):
    """The weights after so many steps of a session's student that nobody stopped in between."""
    student, loop._stop_at = loop.session.student, 1000
    student.add_event_handler(Events.ITERATION_COMPLETED(once=steps), lambda: student.terminate())
    student.run(loop.stream, max_epochs=100)
    return student.model.state_dict()


def test_stopping_and_going_on_changes_nothing(start):
    expected, loop = plainly(start(), 6), start()
    together = start(2, beside=loop)
    for each in (loop, together, loop, together):  # by turns, over the end of an epoch
        each.run(3)
    assert [student.state.iteration for student in (*loop.students, *together.students)] == [6, 6, 6]
    for student in (loop.students[0], together.students[0]):
        found = student.model.state_dict()
        assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    other = together.students[1].model.state_dict()
    assert not torch.equal(other["fc.weight"], expected["fc.weight"])


def test_no_end_of_an_epoch_falls_into_a_measurement(start):
    loop = start()
    ends = []
    loop.students[0].add_event_handler(Events.EPOCH_COMPLETED, lambda: ends.append(1))
    loop.run(11)
    assert not ends and loop.students[0].state.iteration == 11
    assert not list(loop.session.folder.glob("checkpoints/*"))


def test_several_students_cost_one_look_of_the_teacher(start):
    loop = start(3)
    looks = []
    represent = loop.teacher.represent
    loop.teacher.represent = lambda images: looks.append(1) or represent(images)
    loop.run(4)
    assert len(looks) == 4


def test_every_student_has_the_handlers_of_a_session(start):
    one, several = start(), start(2)
    own = {event: len(handlers) for event, handlers in one.students[0]._event_handlers.items()}
    own[Events.ITERATION_COMPLETED] -= 1  # the pause; together they pause by handlers that are theirs while they run
    for student in several.students:
        assert {event: len(handlers) for event, handlers in student._event_handlers.items() if handlers} == {
            event: count for event, count in own.items() if count
        }
    assert one.students[0].heads.keys() == {"ce", "kd"}


def test_it_is_silent_and_lets_go_of_the_folder(start, capfd, caplog):
    for loop in (start(), start(2)):
        loop.run(2)
        loop.close()
        assert loop.session._lock.closed
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_the_data_set_stands_for_its_name_only_meanwhile(start):
    before = dict(data._IN_MEMORY)
    assert start().session.data.digest == DATASET.digest()
    assert before == data._IN_MEMORY
