import dataclasses

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import compiled, models, recipes
from ignite_kd.compiled import check_compiler, compile_student, compile_teacher, compiling_pays
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import UserError
from ignite_kd.heads import KD, VID, CrossEntropy
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.terms import Term

needs_compiler = pytest.mark.skipif(
    compiled._compiler_is_missing(torch.device("cpu")) is not None, reason="no C++ compiler here"
)
CPU = torch.device("cpu")


def batches(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, 3, 8, 8, generator=generator), torch.randint(3, (size,), generator=generator))
        for size in sizes
    ]


def pair(compiling):
    torch.manual_seed(0)
    teacher, model = TeacherEngine(models.build("mlp_8", 3, image_size=8)), models.build("mlp_4", 3, image_size=8)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))
    teacher.attach(student)
    for head in (CrossEntropy(), KD(), VID.for_models(model, teacher.model)):
        head.attach(student)
    if compiling:
        compile_teacher(teacher, 6)
        compile_student(student, 6)
    return teacher, student


def losses(student, loader):
    found = []
    student.add_event_handler(Events.ITERATION_COMPLETED, lambda: found.append(student.state.output["losses"]))
    student.run(loader, max_epochs=2)
    return found


@needs_compiler
def test_a_compiled_training_is_the_same_training_and_an_odd_batch_runs_as_it_is():
    loader = batches(6, 6, 5)
    torch._dynamo.reset()
    _, plain = pair(compiling=False)
    teacher, student = pair(compiling=True)
    expected, found = losses(plain, loader), losses(student, loader)
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)
    assert all(part._fast is not None for part in (teacher.network, student.network, *student.terms.values()))
    for own, other in zip(student.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_only_whole_batches_go_the_fast_way(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda *a: seen.append(len(a[0])) or function(*a))
    teacher, _ = pair(compiling=False)
    compile_teacher(teacher, 6)
    for images, _ in batches(6, 5, 6):
        teacher.represent(images)
    assert seen == [6, 6]


def test_what_cannot_be_compiled_runs_as_it_is_with_a_warning(monkeypatch):
    def refuse(function, **_):
        def fail(*arguments):
            raise torch._dynamo.exc.Unsupported("no such thing\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", refuse)
    teacher, _ = pair(compiling=False)
    images = batches(6)[0][0]
    expected = teacher.represent(images).logits
    compile_teacher(teacher, 6)
    with pytest.warns(UserWarning, match="a part cannot be compiled and runs as it is: no such thing$"):
        found = teacher.represent(images).logits
    assert torch.equal(found, expected)
    assert torch.equal(teacher.represent(images).logits, expected)  # and is not tried again


def test_compiling_is_chosen_where_it_was_measured_to_pay(monkeypatch):
    student, teacher = models.build("wrn_16_1", 10), models.build("wrn_40_2", 10)
    monkeypatch.setattr(compiled, "_compiler_is_missing", lambda device: None)
    assert compiling_pays(CPU, student, teacher, 200 * 40_000, 32)  # the published training
    assert not compiling_pays(CPU, student, teacher, 1000, 32)
    with monkeypatch.context() as patch:  # a short one is not even counted
        patch.setattr(compiled, "macs", lambda *_: pytest.fail("counting takes half a second"))
        assert not compiling_pays(CPU, student, teacher, 1000, 32)
    assert not compiling_pays(torch.device("cuda"), student, teacher, 200 * 40_000, 32)
    monkeypatch.setattr(compiled, "_compiler_is_missing", lambda device: "a compiler")
    assert not compiling_pays(CPU, student, teacher, 200 * 40_000, 32)


def test_a_missing_compiler_is_told_of(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler .* say --compile off"):
        check_compiler(CPU)


def test_graphs_are_of_one_process_on_a_gpu(plan):
    with pytest.raises(UserError, match=r"records the steps of one process on a GPU, but here 1 run on cpu; say"):
        Session(dataclasses.replace(plan, compile="graphs"))


@pytest.fixture
def plan(tmp_path):
    return Plan(
        student="mlp_8",
        recipe=recipes.get("vid,batch_size=40,validation_images=100,test_at_end=false"),
        dataset="shapes",
        samples_per_class=10,
        max_epochs=2,
        terms=(Term("ce"),),
        device="cpu",
        compile="on",
        output_dir=str(tmp_path / "run"),
    )


@needs_compiler
def test_a_compiled_run_that_was_stopped_ends_with_the_same_bits(plan, tmp_path):
    whole = Session(dataclasses.replace(plan, output_dir=str(tmp_path / "whole")))
    assert whole.run() == 0
    whole.close()
    first = Session(dataclasses.replace(plan, max_epochs=1))
    assert first.run() == 0
    first.close()
    resumed = Session(dataclasses.replace(plan, resume="auto"))
    assert resumed.run() == 0
    resumed.close()
    for own, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(own, other)


def test_a_run_stays_as_it_was_decided_when_it_began(plan, monkeypatch):
    plan = dataclasses.replace(plan, compile="auto")
    first = Session(dataclasses.replace(plan, max_epochs=1))
    assert not first.compiled
    assert first.run() == 0
    first.close()
    monkeypatch.setattr("ignite_kd.session.compiling_pays", lambda *_: True)
    resumed = Session(dataclasses.replace(plan, resume="auto"))
    resumed.close()
    assert not resumed.compiled


def test_weights_lie_as_convolutions_like_them(plan):
    session = Session(dataclasses.replace(plan, student="wrn_10_1", compile="off"))
    session.close()
    convolutions = [m for m in session.model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert convolutions
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in convolutions)
    batch = next(iter(session.data.train))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_any_number_of_unlike_parts_is_compiled():
    torch._dynamo.reset()
    parts = [
        eval(f"lambda x: x * {i} + (1 if torch.compiler.is_compiling() else 0)", {"torch": torch}) for i in range(12)
    ]
    compiled_parts = [compiled._Compiled(part, CPU, lambda x: True, backend="eager") for part in parts]
    assert [part(torch.ones(2)).tolist() for part in compiled_parts] == [[i + 1.0] * 2 for i in range(12)]
    torch._dynamo.reset()
