import io
import re
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_kd import StudentEngine
from ignite_kd.handlers import Console
from ignite_kd.heads import CrossEntropy

LOADER = [(torch.ones(2, 4), torch.tensor([0, 1]))] * 4
METRICS = {"train/loss": 1.23456, "train/accuracy": 0.5, "validation/accuracy": 0.98765, "train/loss.ce": 7.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream=None, **settings):
    model = nn.Linear(4, 2)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.05))
    CrossEntropy().attach(student)
    student.add_event_handler(Events.EPOCH_COMPLETED, lambda s: s.state.metrics.update(METRICS))
    console = Console(stream, **settings)
    console.attach(student)
    return student, console


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what a test adds."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("ignite_kd.handlers.console.time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_without_a_terminal_an_epoch_is_one_line_with_its_remaining_time(clock):
    stream = io.StringIO()
    student, _ = shown(stream)

    def step():
        clock.seconds += 2

    student.add_event_handler(Events.ITERATION_STARTED, step)
    student.run(LOADER, max_epochs=3)
    values = "train loss 1.2346  train accuracy 50.00%  validation accuracy 98.77%  lr 0.05"
    assert stream.getvalue().splitlines() == [
        f"epoch 1/3  {values}  2.000 s/step  0:16 left",
        f"epoch 2/3  {values}  2.000 s/step  0:08 left",
        f"epoch 3/3  {values}  2.000 s/step  0:00 left",
    ]


def test_before_the_first_epoch_has_ended_its_pace_is_told_now_and_then(clock):
    stream = io.StringIO()
    student, _ = shown(stream, label="kd")

    def step():
        clock.seconds += 50

    student.add_event_handler(Events.ITERATION_STARTED, step)
    student.run(LOADER, max_epochs=2)
    told = [line for line in stream.getvalue().splitlines() if "step " in line and " of 4" in line]
    assert told == [  # after 60 and 120 seconds; the second epoch is as long, but has no need of it
        "[kd] epoch 1/2  step 2 of 4  50.000 s/step  5:00 left",
        "[kd] epoch 1/2  step 3 of 4  50.000 s/step  4:10 left",
    ]


def test_hours_are_told_as_hours_and_the_caller_may_know_the_end(clock):
    stream = io.StringIO()
    student, _ = shown(stream, total_epochs=4)

    def step():
        clock.seconds += 310.25

    student.add_event_handler(Events.ITERATION_STARTED, step)
    student.run(LOADER, max_epochs=1)
    seconds = 12 * 310.25  # one hour, two minutes and three seconds
    assert seconds == 3600 + 2 * 60 + 3
    assert re.search(r"^epoch 1/4  train .* 1:02:03 left$", stream.getvalue(), re.MULTILINE)


def test_the_time_of_a_resumed_run_is_that_of_its_own_steps(clock):
    first, _ = shown(io.StringIO())
    first.run(LOADER, max_epochs=2)
    stream = io.StringIO()
    student, _ = shown(stream)
    student.load_state_dict(first.state_dict())

    def step():
        clock.seconds += 3

    student.add_event_handler(Events.ITERATION_STARTED, step)
    student.run(LOADER, max_epochs=4)
    lines = stream.getvalue().splitlines()
    assert [line[:9] for line in lines] == ["epoch 3/4", "epoch 4/4"]
    assert lines[0].endswith("3.000 s/step  0:12 left")


def test_lines_go_to_standard_output(capsys):
    student, _ = shown()
    student.run(LOADER, max_epochs=2)
    out, err = capsys.readouterr()
    assert [line[:9] for line in out.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert err == ""


def test_a_metric_that_is_not_there_is_not_shown():
    stream = io.StringIO()
    model = nn.Linear(4, 2)
    bare = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.05))
    CrossEntropy().attach(bare)
    Console(stream).attach(bare)
    bare.run(LOADER, max_epochs=1)
    assert stream.getvalue().startswith("epoch 1/1") and "accuracy" not in stream.getvalue()


def test_a_terminal_has_a_bar_with_the_remaining_time_and_a_line_for_each_epoch():
    stream = Terminal()
    student, _ = shown(stream)
    student.run(LOADER, max_epochs=3)
    text = stream.getvalue()
    # done/all steps, [time gone<time left, speed]
    assert re.search(r"epoch 2/3: +\d+%\|.*\| 8/12 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+(step/s|s/step)", text)
    assert text.count("train loss 1.2346  train accuracy 50.00%  validation accuracy 98.77%  lr 0.05\n") == 3
    assert "100%" in text and "12/12" in text
    assert "left" not in text


def test_the_bar_of_a_resumed_run_begins_where_the_run_does():
    first, _ = shown(io.StringIO())
    first.run(LOADER, max_epochs=2)
    stream = Terminal()
    student, _ = shown(stream, total_epochs=3)
    student.load_state_dict(first.state_dict())
    student.run(LOADER, max_epochs=3)
    counts = [int(n) for n in re.findall(r"\| (\d+)/12 ", stream.getvalue())]
    assert counts[0] == 8 and counts[-1] == 12


@pytest.mark.parametrize("end", ["completed", "stopped", "failed"])
def test_the_bar_is_taken_away_at_the_end(end):
    stream = Terminal()
    student, console = shown(stream)

    def interfere():
        if end == "stopped":
            student.terminate(skip_completed=True)
        if end == "failed":
            raise RuntimeError("on purpose")

    student.add_event_handler(Events.ITERATION_COMPLETED(once=6), interfere)
    if end == "failed":
        with pytest.raises(RuntimeError, match="on purpose"):
            student.run(LOADER, max_epochs=3)
        assert not stream.getvalue().endswith("\n")  # that is left to the caller
        console.close()
    else:
        student.run(LOADER, max_epochs=3)
    text = stream.getvalue()
    assert text.endswith("\n")  # what is printed next does not stand behind the bar
    console.close()
    assert stream.getvalue() == text
