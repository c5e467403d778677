import json
import re
from pathlib import Path

import pytest
from commands import call

from ignite_kd import heads
from ignite_kd.bench import measured_costs
from ignite_kd.bench.heads import bench_heads


def test_each_head_is_measured_beside_the_students_own_step():
    step, costs = bench_heads("wrn_10_1", "resnet8", 4, 2, "cpu", ["vid", "kd"])
    assert (step.name, step.share) == ("resnet8", 1.0)
    assert {cost.name for cost in costs} == {"vid", "kd"}
    assert all(cost.seconds > 0 and cost.share == cost.seconds / step.seconds for cost in costs)
    by_name = {cost.name: cost for cost in costs}
    # 4 images: vid regresses maps of 16·32², 32·16² and 64·8² numbers; kd has 4 × 100 logits
    assert by_name["vid"].megabytes > 4 * (16 * 32**2 + 32 * 16**2 + 64 * 8**2) * 4 / 2**20
    assert by_name["kd"].megabytes < 0.1


def test_the_command_prints_a_table_or_json():
    arguments = "bench heads --teacher wrn_10_1 --student resnet8 --batch-size 4 --rounds 1 --device cpu --methods kd"
    done = call(arguments)
    assert done.status == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines()[2:]] == ["resnet8", "kd"]
    found = json.loads(call(f"{arguments} --json").out)
    assert found["heads"][0]["name"] == "kd" and found["step"]["share"] == 1.0


def test_the_costs_that_are_shown_are_of_all_heads_and_those_above_the_promise_are_explained():
    costs, text = measured_costs(), (Path(__file__).resolve().parents[2] / "README.md").read_text()
    assert costs.keys() == set(heads.names()) - {"ce"}
    (explained,) = re.findall(r"cost more than a third, because(.*?)\n\n", text, re.DOTALL)
    assert {name for name, share in costs.items() if share > 0.35} == set(
        re.findall(r"`(\w+)` (?:adds|needs)", explained)
    )
    for name, share in costs.items():
        (shown,) = re.findall(rf"^\| `{name}` \|.*\| (.*) \|$", text, re.MULTILINE)
        assert shown == ("below 1%" if share < 0.01 else f"{share:.0%}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--methods kdd", "did you mean 'kd'"),
        ("--teacher wrn_16_3x", "unknown model"),
        ("--batch-size 1", "not in the range"),
    ],
)
def test_wrong_words_are_one_line(words, message):
    done = call(f"bench heads {words}")
    assert done.status == 2 and message in done.err and len(done.err.splitlines()) == 1
