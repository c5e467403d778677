import statistics
import time

import pytest

from ignite_kd.bench.timing import alternate, summary


@pytest.mark.parametrize("values", [[3.0], [1.0, 4.0], [5.0, 1.0, 2.0], [0.5, 9.0, 2.0, 2.5, 7.0, 1.0]])
def test_the_summary_is_the_median_and_the_distance_of_the_quartiles(values):
    found = summary(values)
    assert found.median == statistics.median(values)
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    assert found.spread == pytest.approx(quartiles[2] - quartiles[0])


def test_all_take_turns_and_the_warm_up_does_not_count():
    calls = []
    works = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    seconds = alternate(works, 3, "cpu", warm_up=2)
    assert calls == list("ab" * 5)
    assert {name: len(found) for name, found in seconds.items()} == {"a": 3, "b": 3}


def test_the_work_is_timed_and_the_pause_before_it_is_not(monkeypatch):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    assert alternate({"work": lambda: sleep(2.0)}, 2, "cpu", pause=16.0) == {"work": [2.0, 2.0]}
