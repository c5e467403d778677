from dataclasses import replace

import pytest

from ignite_kd import tables
from ignite_kd.tables import report
from ignite_kd.tables.trial import Trial

TABLE = tables.get("vid-cifar10")


def trial(number, accuracy, row="vid", column="100", scale=1.0, seconds=120.0, students=2):
    return Trial(
        table="vid-cifar10", row=row, column=column, trial=number, epochs=200, epochs_scale=scale, accuracy=accuracy,
        best_accuracy=None, validation_accuracy=50.0, seconds=seconds, students=students,
        error=None if accuracy is not None else "NaN", record={"device": "a machine"},
    )  # fmt: skip


def summary(*trials):
    (found,) = report.summaries(TABLE, trials)
    return found


def test_mean_deviation_and_difference_are_those_of_the_trials():
    found = summary(trial(0, 80.0), trial(1, 81.0), trial(2, 82.0))
    assert (found.mean, found.deviation, found.trials) == (81.0, 1.0, 3)  # of a sample: ((1 + 0 + 1) / 2) ** 0.5
    assert found.difference == pytest.approx(81.0 - 81.59)
    assert found.minutes == 1.0  # two students shared 120 s


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((80.0, 81.0, 82.0), "within one standard deviation"),
        ((81.2, 81.2, 81.2), "within 0.5"),
        ((70.0, 71.0, 72.0), "outside, worse"),
        ((83.0, 83.1, 83.2), "outside, better"),
        ((81.3,), "within 0.5"),
        ((80.0,), "outside, worse"),
        ((None, None), "failed in 2 of 2 trials"),
        ((81.59, None), "failed in 1 of 2 trials"),
    ],
)
def test_the_verdict(accuracies, verdict):
    assert summary(*(trial(i, a) for i, a in enumerate(accuracies))).verdict == verdict


def test_a_shorter_schedule_is_never_compared():
    short = [trial(0, 81.59, scale=0.5), trial(1, 81.6, scale=0.5)]
    assert summary(*short).verdict == "epochs × 0.5: not compared"
    told = report.markdown(TABLE, short)
    assert "not the published experiments" in told and "within" not in told and "+0.0" not in told


def test_a_teacher_that_was_trained_otherwise_is_never_compared():
    teacher = trial(0, 94.26, row="teacher")
    assert summary(teacher).verdict == "within 0.5"
    started = replace(teacher, record={"started_from": {"card": None}})
    found = summary(started)
    assert (found.verdict, found.difference) == ("trained otherwise: not compared", None)


def test_what_learned_from_a_teacher_of_fewer_epochs_is_marked():
    found = [trial(0, 92.6, row="teacher", scale=0.25), trial(0, 81.6), trial(0, 58.84, row="student")]
    verdicts = {summary.cell.row: summary.verdict for summary in report.summaries(TABLE, found)}
    assert verdicts == {
        "teacher": "epochs × 0.25: not compared",
        "vid": "within 0.5 (its teacher: epochs × 0.25)",
        "student": "within 0.5",  # has no teacher
    }


def test_another_number_format_is_told_with_the_device():
    found = [replace(trial(0, 80.0), record={"device": "one", "identity": {"precision": p}}) for p in ("fp32", "bf16")]
    assert summary(*found).devices == ("one", "one (bf16)")


def test_a_shorter_schedule_beside_the_full_one_has_a_line_of_its_own():
    short, full = report.summaries(TABLE, [trial(0, 10.0, scale=0.5), trial(1, 80.0), trial(2, 90.0)])[::-1]
    assert (full.mean, full.trials, short.mean, short.verdict) == (85.0, 2, 10.0, "epochs × 0.5: not compared")


def test_a_failed_trial_is_told_and_not_averaged():
    found = summary(trial(0, 80.0), trial(1, None))
    assert (found.mean, found.deviation, found.count) == (80.0, None, "1, 1 failed")


def test_the_minutes_are_those_of_trials_that_went_to_the_end():
    assert summary(trial(0, 80.0, seconds=240.0), trial(1, None, seconds=2.0)).minutes == 2.0
    assert summary(trial(0, None, seconds=240.0)).minutes == 2.0


def test_markdown_has_a_table_a_column_in_the_tables_order():
    told = report.markdown(TABLE, [trial(0, 81.0), trial(0, 60.0, row="kd"), trial(0, 88.0, column="500")])
    lines = told.splitlines()
    assert lines.index(
        "| vid | 88.09 | 88.00 | 1 | -0.09 | 50.00 | 1.0 (of 2 at once) | a machine | within 0.5 |"
    ) < lines.index("| kd | 64.24 | 60.00 | 1 | -4.24 | 50.00 | 1.0 (of 2 at once) | a machine | outside, worse |")
    assert "arXiv:1904.05835" in told and "last epoch" in told


def test_a_search_is_one_table_of_validation_accuracies():
    def candidate(row, column, validation):
        return replace(trial(0, None, row=row, column=column), validation_accuracy=validation, error=None)

    found = [candidate("kd", "500", 61.0), candidate("kd", "100", 62.25), candidate("vid", "100", 40.0)]
    found.append(replace(trial(0, None, column="500"), validation_accuracy=None))
    found += [candidate("at", "100", accuracy) for accuracy in (50.0, 52.0)]
    found.append(replace(trial(2, None, row="at", column="500"), validation_accuracy=None))
    found.append(candidate("at", "500", 70.0))
    found.append(trial(0, 94.0, row="teacher"))
    told = report.markdown(TABLE, found)
    lines = told.splitlines()
    assert "validation accuracy" in lines[0]
    assert lines[2:7] == [
        "| | 500 | 100 |",
        "|---|---|---|",
        "| kd | 61.00 | **62.25** |",
        "| at | 70.00 (1 of 2 failed) | **51.00** (of 2) |",
        "| vid | failed | **40.00** |",
    ]


def test_a_picture_is_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "table.png"
    assert report.picture(TABLE, [trial(0, 81.0), trial(1, 80.0), trial(0, 60.0, row="kd")], path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_nothing_but_failures_is_none(tmp_path):
    assert not report.picture(TABLE, [trial(0, None)], tmp_path / "table.png")


def test_the_picture_of_a_search_is_none(tmp_path):
    found = [replace(trial(0, None), error=None), trial(0, 94.0, row="teacher")]
    assert not report.picture(TABLE, found, tmp_path / "table.png")


def test_a_training_that_went_over_two_machines_names_both():
    one = trial(0, 80.0)
    one.record.update(earlier=[{"device": "another"}], device="a machine")
    assert summary(one).devices == ("another", "a machine")


def test_a_teacher_that_stands_in_one_column_is_left_out_where_nobody_learned():
    taught = [trial(0, 80.0, column="100"), *(trial(0, 94.0, "teacher", column) for column in ("5000", "500", "100"))]
    assert [str(found.cell) for found in report.summaries(TABLE, taught)] == ["teacher:100", "vid:100"]
    alone = taught[1:]  # nobody learned at all: this is what was asked for
    assert [found.cell.column for found in report.summaries(TABLE, alone)] == ["5000", "500", "100"]
