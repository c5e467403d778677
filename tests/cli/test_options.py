import subprocess
import sys
import time
from pathlib import Path

import pytest

from ignite_kd import __version__
from ignite_kd.cli import commands, run
from ignite_kd.cli.train_with_transfer import command as with_transfer
from ignite_kd.cli.train_without_transfer import command as without_transfer

ROOT = Path(__file__).resolve().parents[2]

# A new flag is a decision: it is added here too. First the released code's, then ours.
SHARED_RELEASED = {
    "--max-epochs": None,  # the recipe's: 200
    "--device": "auto",
    "--data-dir": "./data/",
    "--num-workers": 4,
}
WITHOUT_RELEASED = {"--depth": 16, "--width": 1, "--state-dict-path": "./state_dict/teacher.th"} | SHARED_RELEASED
WITH_RELEASED = {
    "--student-depth": 16,
    "--student-width": 1,
    "--teacher-depth": 40,
    "--teacher-width": 2,
    "--variational-information-distillation-factor": 0.1,
    "--knowledge-distillation-factor": 1.0,
    "--knowledge-distillation-temperature": 2.0,
    "--state-dict-path": "./state_dict/student_with_transfer.th",
    "--teacher-state-dict-path": "./state_dict/teacher.th",
} | SHARED_RELEASED
OURS = {
    "--recipe": "vid",
    "--dataset": "cifar10",
    "--samples-per-class": None,
    "--image-size": None,
    "--seed": 0,
    "--order-seed": None,
    "--students": 1,
    "--student-run": None,
    "--output-dir": None,
    "--resume": "never",
    "--precision": "fp32",
    "--compile": "auto",
    "--time-limit": None,
    "--nproc-per-node": 1,
    "--max-restarts": 0,
    "--keep-epochs": None,
    "--tracker": None,
    "--initial-state-dict-path": None,
}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (without_transfer, WITHOUT_RELEASED | OURS | {"--model": None}),
        (with_transfer, WITH_RELEASED | OURS | {"--student": None, "--teacher": None, "--loss": None}),
    ],
)
def test_the_scripts_take_the_released_codes_flags_with_their_defaults_and_these_more(command, expected):
    found = {parameter.opts[0]: parameter.to_info_dict()["default"] for parameter in command.params}
    assert found == expected


@pytest.mark.parametrize("arguments", [["train_with_transfer.py"], ["train_without_transfer.py"], ["-m", "ignite_kd"]])
def test_help_is_fast_because_it_does_not_import_torch(arguments):
    code = "import sys, runpy; sys.argv = {!r}; runpy.run_{}({!r}, run_name='__main__')".format(
        [arguments[-1], "--help"], "module" if "-m" in arguments else "path", arguments[-1]
    )
    check = f"import atexit, sys\natexit.register(lambda: print('torch imported:', 'torch' in sys.modules))\n{code}"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "torch imported: False" in done.stdout and "Usage:" in done.stdout
    assert time.monotonic() - started < 5  # about 0.15 s on an idle machine


def test_help_is_grouped(capsys):
    with pytest.raises(SystemExit):
        run(with_transfer, ["--help"])
    shown = capsys.readouterr().out
    assert [line[:-1] for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")] == [
        "Networks", "Loss", "Data", "Run", "Students", "Machine", "Help",
    ]  # fmt: skip


def call(capsys, command, *arguments):
    with pytest.raises(SystemExit) as stopped:
        run(command, list(arguments))
    shown = capsys.readouterr()
    return stopped.value.code, shown.out, shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--knowledge-distillation-temperature", "0"], "temperature should be positive"),
        (["--knowledge-distillation-factor", "-1"], "the factor of kd should be zero or more, but -1.0"),
        (["--variational-information-distillation-factor", "-0.5"], "the factor of vid should be zero or more"),
        (["--recipe", "vidd"], "did you mean 'vid'"),
        (["--loss", "kd:1", "--loss", "kd:2"], "a method may stand once"),
        (["--loss", "kd:1", "--knowledge-distillation-factor", "1"], "--loss replaces the options of VID and KD"),
        (["--loss", "ce:0"], "every factor of the loss is zero"),
        (["--max-epochs", "0"], "0 is not in the range"),
        (["--time-limit", "soon"], "no duration"),
        (["--precision", "int8"], "'int8' is not one of"),
        (["--resum", "auto"], "--resume"),
        (["--keep-epochs", "0,two"], "'0,two' is no list of epochs; write 0,2,5,10, published or none"),
        (["--keep-epochs", "-1"], "no list of epochs"),
        (["--seed", "x"], "not a valid integer"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(capsys, arguments, message):
    status, out, err = call(capsys, with_transfer, *arguments)
    assert status == 2 and message in err
    assert err.startswith("error: ") and len(err.splitlines()) == 1 and not out


def test_an_unknown_command_gets_the_nearest_one(capsys):
    status, _, err = call(capsys, commands, "quickstrt")
    assert status == 2 and "did you mean 'quickstart'" in err


@pytest.mark.parametrize("kind", ["methods", "models", "datasets", "recipes"])
def test_list_names_what_there_is(capsys, kind):
    status, out, _ = call(capsys, commands, "list", kind)
    expected = {"methods": "vid", "models": "wrn_40_2", "datasets": "cifar100", "recipes": "vid-released-code"}
    assert status == 0 and any(line.split()[0] == expected[kind] for line in out.splitlines())


def test_without_a_command_there_is_the_help(capsys):
    with pytest.raises(SystemExit) as end:
        run(commands, [])
    told = capsys.readouterr()
    assert end.value.code == 0 and "quickstart" in told.out and told.out.count("\n") > 10 and not told.err


def test_the_version_is_known_without_an_installation(capsys):
    with pytest.raises(SystemExit):
        run(commands, ["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_a_number_of_processes_that_is_none_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(SystemExit) as end:
        run(commands, ["train-without-transfer", "--dataset", "shapes", "--data-dir", "nowhere"])
    assert end.value.code == 2 and "WORLD_SIZE should be the number of processes" in capsys.readouterr().err
