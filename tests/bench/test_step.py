import functools
import json
import time

import pytest
from commands import call

from ignite_kd.bench import step
from ignite_kd.bench.images import random_images
from ignite_kd.bench.parts import engine_overhead
from ignite_kd.bench.step import bench_step
from ignite_kd.plan import Term

TINY = {
    "student": "wrn_10_1",
    "teacher": "wrn_10_2",
    "batch_size": 8,
    "rounds": 1,
    "steps": 1,
    "device": "cpu",
    "compile": "off",
}
WORDS = (
    "bench step --student wrn_10_1 --teacher wrn_10_2 --batch-size 8 --rounds 1 --steps 1 --device cpu --compile off"
)


@pytest.fixture
def few_images(monkeypatch):
    monkeypatch.setattr(step, "images_for", lambda name, folder: (random_images(name, 10, 80, 8), "random"))
    monkeypatch.setattr(step, "engine_overhead", functools.partial(engine_overhead, rounds=1, steps=2))
    monkeypatch.setattr(step.machine, "help_seconds", lambda: 0.25)
    monkeypatch.setattr(step.machine, "products", lambda device, kind: (lambda: time.sleep(0.002), 2_000_000))


def numbers(found, path=""):
    """Every number in a JSON object by its path."""
    if isinstance(found, (dict, list)):
        items = found.items() if isinstance(found, dict) else enumerate(found)
        return {key: value for name, inner in items for key, value in numbers(inner, f"{path}/{name}").items()}
    return {path: found} if isinstance(found, (int, float)) and not isinstance(found, bool) else {}


def test_the_command_prints_one_json_object_with_everything(few_images):
    done = call(f"{WORDS} --students 1,3 --workers 0 --json")
    assert done.status == 0, done.err
    assert done.err == ""
    found = json.loads(done.out)
    assert found.keys() == {
        "task", "machine", "plain", "plain_mebibytes", "borrowed", "classrooms", "data", "rates", "format", "flops",
        "parts", "overhead", "build", "start_up", "compilation", "help",
    }  # fmt: skip
    assert found["task"] == {
        "student": "wrn_10_1", "teacher": "wrn_10_2", "loss": ["ce:1", "kd:1,temperature=2.0", "vid:0.1"],
        "dataset": "cifar10", "images": "random", "batch_size": 8, "precision": "fp32", "compile": "off",
        "compiled": False, "workers": 0, "rounds": 1, "steps": 1,
    }  # fmt: skip
    zero = {path for path, value in numbers(found).items() if not value > 0}
    # one round has no spread, workers were switched off, and only products have a count
    assert all(path.endswith(("spread", "workers", "flops")) or path.startswith("/overhead") for path in zero)
    assert 1e6 < found["rates"]["fp32"] <= 1e9  # 2 million in 2 ms, or more on a machine that has much to do
    plain, (one, three) = found["plain"]["median"], found["classrooms"]
    assert (one["students"], three["students"]) == (1, 3)
    assert one["ratio"] == pytest.approx(plain / one["seconds"])
    assert three["ratio"] == pytest.approx(3 * plain / three["seconds"])
    teacher, student, heads = found["flops"].values()
    for room in (one, three):
        work = teacher + room["students"] * (student + heads)
        assert room["share"] == pytest.approx(work / room["seconds"] / found["rates"]["fp32"])
    assert found["data"]["ratio"] == pytest.approx(found["data"]["stream"] / found["data"]["pictures"])
    assert found["start_up"] > found["build"] and found["borrowed"] == [] and found["compilation"] is None


def test_a_page_is_printed_for_people_and_bench_alone_is_bench_step(few_images, monkeypatch):
    reports = []
    monkeypatch.setattr(step, "bench_step", lambda **settings: reports.append(bench_step(**settings)) or reports[0])
    page = call(f"{WORDS} --students 1,2 --workers 1").out
    for words in ("wrn_10_2 → wrn_10_1, ce:1 + kd:1,temperature=2.0 + vid:0.1", "random images", "released loop",
                  "1 student ", "2 students ", "teacher forward", "optimizer", "rest: engine", "workers"):  # fmt: skip
        assert words in page
    asked = []
    monkeypatch.setattr(step, "bench_step", lambda **settings: asked.append(settings) or reports[0])
    done = call("bench")
    assert done.status == 0 and done.out == page
    assert (asked[0]["student"], asked[0]["teacher"], asked[0]["students"]) == ("wrn_16_1", "wrn_40_2", (1, 2, 4, 8))


def test_other_terms_are_the_packages_heads_in_both_loops(few_images):
    report = bench_step(**TINY, terms=(Term("ce"), Term("sp", 3000.0), Term("kd", 0.0)), students=(2,), workers=0)
    assert report.borrowed == ["sp"] and report.task["loss"] == ["ce:1", "sp:3000"]
    # the products of 8 images' maps with each other, and nothing else
    assert report.flops["heads"] == 6 * 8 * 8 * (64 * 8 * 8 + 128 * 8 * 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--students 1,x", "'1,x' should be different numbers above zero, such as 1,2,4"),
        ("--students 0", "different numbers above zero"),
        ("--students 2,2", "different numbers above zero"),
        ("--student wrn_16_3x", "unknown model"),
        ("--loss kdd", "did you mean 'kd'"),
        ("--loss kd:1 --loss kd:2", "a method may stand once"),
        ("--loss ce:0", "every factor of the loss is zero"),
        ("--dataset folder", "is not one of 'cifar10', 'cifar100', 'shapes'"),
        ("--batch-size 1", "not in the range"),
        ("--batch-size 200", "a batch of 200 is more than the 64 training images"),
        ("--device cuda:99", "--device"),
        ("--precision tf32 --device cpu", "format of NVIDIA GPUs"),
        ("--batch-size 8 --loss vid:1,variant=other", "variant of vid"),
    ],
)
def test_wrong_words_are_one_line(few_images, words, message):
    done = call(f"bench step {words}")
    assert done.status == 2 and message in done.err and len(done.err.splitlines()) == 1 and not done.out
