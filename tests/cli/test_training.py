"""Several students from one command line; what they do is tested in tests/test_classroom.py."""

import shlex

import pytest

from ignite_kd.cli.train_student import command as train_student
from ignite_kd.cli.train_with_transfer import command as with_transfer
from ignite_kd.errors import UserError


@pytest.fixture
def plans(monkeypatch):
    """What a command line would train."""
    import ignite_kd.launch

    def of(command, words):
        found = []
        monkeypatch.setattr(ignite_kd.launch, "launch", lambda plans, _: found.extend(plans) or 0)
        command.main(shlex.split(words), standalone_mode=False)
        return found

    return of


def said(plan):
    return {term.method: term.factor for term in plan.terms}


def test_students_have_consecutive_seeds_and_the_first_ones_batches(plans):
    found = plans(with_transfer, "--students 3 --seed 5")
    assert [(plan.seed, plan.order) for plan in found] == [(5, 5), (6, 5), (7, 5)]


def test_the_first_of_several_is_the_one_alone(plans):
    (alone,) = plans(with_transfer, "--seed 5 --loss kd:2")
    first, _ = plans(with_transfer, "--seed 5 --loss kd:2 --students 2")
    assert first.identity() == alone.identity()


def test_an_order_of_its_own_may_be_asked_for(plans):
    found = plans(with_transfer, "--students 2 --seed 5 --order-seed 9")
    assert [(plan.seed, plan.order) for plan in found] == [(5, 9), (6, 9)]


def test_the_options_of_a_student_stand_for_those_outside(plans):
    words = '--loss vid:1 --max-epochs 7 --student-run "--loss kd:2 --loss at:3" --student-run "--student wrn_10_1"'
    one, other = plans(with_transfer, words)
    assert said(one) == {"ce": 1.0, "kd": 2.0, "at": 3.0}
    assert said(other) == {"ce": 1.0, "vid": 1.0}
    assert (one.student, other.student) == ("wrn_16_1", "wrn_10_1")
    assert {one.max_epochs, other.max_epochs} == {7}


def test_each_kind_of_student_can_be_repeated(plans):
    found = plans(with_transfer, '--students 2 --student-run "--loss kd:2" --student-run "--loss at:3 --seed 4"')
    assert [(plan.seed, plan.order, list(said(plan))[1]) for plan in found] == [
        (0, 0, "kd"),
        (1, 0, "kd"),
        (4, 0, "at"),
        (5, 0, "at"),
    ]


def test_a_trial_of_the_benchmark_is_a_folder_and_a_seed(plans):
    words = "--path_t x_vanilla/ckpt.pth --model_t resnet32x4 --distill kd -a 0.9 -r 0.1 --trial 2 --students 2"
    found = plans(train_student, words)
    assert [plan.seed for plan in found] == [2, 3]
    assert [plan.output_dir[-2:] for plan in found] == ["_2", "_3"]


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("--los kd:1", r"--student-run '--los kd:1': No such option '?:? ?'?--los"),
        ("--students 2", "students of a student"),
        ('--loss "kd:1', "No closing quotation"),
        ("kd:1", "unexpected extra argument"),
    ],
)
def test_a_mistake_in_a_students_options_is_told_with_them(plans, run, told):
    with pytest.raises(UserError, match=told):
        plans(with_transfer, f"--student-run {shlex.quote(run)}")


def test_a_wrong_value_in_a_students_options_is_a_usage_error(plans):
    import click

    with pytest.raises(click.UsageError, match=r"x.*is not a valid integer"):
        plans(with_transfer, '--student-run "--seed x"')


def test_the_epochs_to_keep_are_those_given_else_the_recipes(plans):
    words = {
        "--keep-epochs 5,0,2,5": (0, 2, 5),
        "--keep-epochs published": (*(0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 70, 90, 110, 130, 150),
                                    *(170, 190, 240, 280, 320, 360, 400)),
        "--recipe concepts --keep-epochs none": (),
        "": (),
    }  # fmt: skip
    for said_, kept in words.items():
        assert plans(with_transfer, said_)[0].keep_epochs == kept
    assert plans(with_transfer, "--recipe concepts")[0].keep_epochs == words["--keep-epochs published"]
    one, other = plans(with_transfer, '--student-run "--keep-epochs 0,1" --student-run "--loss kd:1 --keep-epochs 3"')
    assert (one.keep_epochs, other.keep_epochs) == ((0, 1), (3,))


def test_epochs_to_keep_beyond_the_end_are_told(plans, capsys):
    plans(with_transfer, "--keep-epochs 0,2,5,7 --max-epochs 4")
    assert capsys.readouterr().out == "note: --keep-epochs 5,7 is beyond the last epoch, 4\n"
    plans(with_transfer, "--keep-epochs published --max-epochs 4")
    assert capsys.readouterr().out == ""
