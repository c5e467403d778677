import time

import pytest
import torch

from ignite_kd import models, recipes
from ignite_kd.bench import parts
from ignite_kd.bench.images import random_images
from ignite_kd.bench.package_loop import PackageLoop
from ignite_kd.bench.parts import engine_overhead, measure_parts, step_flops
from ignite_kd.plan import Plan, Term

BATCH = 4


@pytest.fixture
def start(tmp_path):
    loops = []

    def start(student, teacher, *terms):
        torch.save(models.build(teacher, 10).state_dict(), tmp_path / "teacher.th")
        plan = Plan(
            student=student,
            teacher=teacher,
            teacher_path=str(tmp_path / "teacher.th"),
            recipe=recipes.get(f"vid,batch_size={BATCH}"),
            terms=terms,
            device="cpu",
            compile="off",
            output_dir=str(tmp_path / "run"),
        )
        loops.append(PackageLoop(plan, dataset=random_images("cifar10", 10, train=20, test=4)))
        return loops[-1]

    yield start
    for loop in loops:
        loop.close()


@pytest.fixture
def loop(start):
    return start("wrn_10_1", "wrn_10_2", Term("ce"), Term("kd"), Term("vid", 0.1))


def of_network(width):
    """Products of a wide residual network of depth 10 by hand: a 3×3 convolution of each size, shortcuts, classes."""
    products, inputs = 3 * 9 * 16 * 32**2, 16
    for outputs, places in ((16 * width, 32**2), (32 * width, 16**2), (64 * width, 8**2)):
        products += 9 * (inputs + outputs) * outputs * places + (inputs != outputs) * inputs * outputs * places
        inputs = outputs
    return products + inputs * 10


def test_the_work_of_a_step_is_counted_as_by_hand(loop):
    # two linear convolutions of 1×1 are done as one, whose weights are the product of theirs
    sizes = ((16, 32**2), (32, 16**2), (64, 8**2))
    vid = sum(BATCH * s * 2 * s * places + 2 * s * 2 * s * s for s, places in sizes)
    assert step_flops(loop, 32) == {
        "teacher forward": 2 * BATCH * of_network(2),
        "student forward and backward": 6 * BATCH * of_network(1),
        "heads": 6 * vid,
    }


def test_parts_are_timed_and_those_made_of_products_have_a_limit(loop):
    flops = {"teacher forward": 600, "heads": 300}
    found = measure_parts(loop, flops, rate=100.0, rounds=2)
    assert [part.name for part in found] == [
        "data", "teacher forward", "student forward and backward", "heads", "optimizer"
    ]  # fmt: skip
    assert all(part.seconds > 0 for part in found)
    assert {part.name: part.limit for part in found if part.limit} == {"teacher forward": 6.0, "heads": 3.0}
    assert not any(part.limit for part in measure_parts(loop, flops, rate=None, rounds=1))


def test_what_an_engine_adds_to_a_bare_step_is_seen(monkeypatch):
    class Slow(PackageLoop):
        def run(self, steps):
            time.sleep(0.05 * steps)
            super().run(steps)

    monkeypatch.setattr(parts, "PackageLoop", Slow)
    threads = torch.get_num_threads()
    assert 0.03 < engine_overhead("cpu", rounds=5, steps=2).median < 1
    assert torch.get_num_threads() == threads


def test_the_bare_loop_learns_what_the_engine_learns(start, monkeypatch):
    loop = start("mlp_8", "mlp_8", Term("ce"), Term("kd", 0.5))
    run, stepped = parts._bare_loop(loop, loop.session.plan), []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self: stepped.append(self.param_groups[0]["params"]) or step(self)
    )
    run(3)
    bare = [parameter.detach().clone() for parameter in stepped[-1]]
    loop.run(3)
    assert len(stepped) == 6 and stepped[-1][0] is not stepped[0][0]
    assert all(torch.equal(*both) for both in zip(bare, stepped[-1], strict=True))
