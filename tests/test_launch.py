import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ignite_kd import recipes
from ignite_kd.errors import UserError
from ignite_kd.launch import free_port, launch
from ignite_kd.plan import Plan
from ignite_kd.terms import Term

DISTURBED = Path(__file__).with_name("disturbed.py")
ROOT = DISTURBED.parents[1]
WORDS = (
    "--dataset shapes --model mlp_8 --samples-per-class 20 --device cpu --max-epochs 3 "
    "--recipe vid,batch_size=64,validation_images=40,milestones=2 --output-dir run --state-dict-path net.th"
)  # four steps an epoch, the last one with eight images


def run(words, folder, launcher=(), disturb=None):
    """DISTURBED with WORDS and more words, started by python or by a launcher."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if disturb is not None:
        environment["DISTURB"] = disturb
    command = [sys.executable, *launcher, str(DISTURBED), *WORDS.split(), *words.split()]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def weights(folder):
    return torch.load(folder / "net.th", weights_only=True)


def checkpoint(folder):
    return torch.load(max((folder / "run" / "checkpoints").glob("step-*.pt")), weights_only=True)


def record(folder):
    return json.loads((folder / "run" / "run.json").read_text())


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run("--nproc-per-node 2", folder)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^epoch (\d)/3", done.stdout, re.MULTILINE) == ["1", "2", "3"]  # said once
    assert done.stderr == ""
    return folder


def test_two_processes_make_one_run(undisturbed):
    lines = [json.loads(line) for line in (undisturbed / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [4, 8, 12]
    assert record(undisturbed)["status"] == "finished" and record(undisturbed)["processes"] == [2]


def test_one_process_cannot_be_started_again(tmp_path):
    plan = Plan(student="mlp_4", recipe=recipes.get("vid"), terms=(Term("ce"),), output_dir=str(tmp_path / "run"))
    with pytest.raises(UserError, match="there is one only; leave it out"):
        launch([plan], max_restarts=1)
    assert not (tmp_path / "run").exists()


def test_a_killed_process_is_started_again_and_the_run_ends_with_the_same_bits(undisturbed, tmp_path):
    done = run("--nproc-per-node 2 --max-restarts 1", tmp_path, disturb="KILL 1 6")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ("a process was killed by signal 9; starting again from the last checkpoint (1 times left)\n")
    assert "resuming run after 1 epochs, 0 batches" in done.stdout
    assert equal(weights(tmp_path), weights(undisturbed))


def test_a_killed_process_ends_the_run_in_one_line_and_a_single_one_can_go_on(undisturbed, tmp_path):
    done = run("--nproc-per-node 2", tmp_path, disturb="KILL 0 6")
    assert done.returncode == 1
    assert done.stderr == "error: a process was killed by signal 9; go on with --resume auto.\n"
    done = run("--resume auto", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "processes 2 before, 1 now" in done.stdout
    assert record(tmp_path)["processes"] == [2, 1]
    for key, tensor in weights(undisturbed).items():
        torch.testing.assert_close(weights(tmp_path)[key], tensor, rtol=1e-4, atol=1e-5)


def test_torchrun_starts_a_killed_process_again_and_the_run_ends_with_the_same_bits(undisturbed, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "2", "--master-port"]
    done = run("--resume auto", tmp_path, [*launcher, str(free_port())], disturb="KILL 1 6")
    assert done.returncode == 0, done.stderr
    assert "resuming run after 1 epochs, 0 batches" in done.stdout
    assert equal(weights(tmp_path), weights(undisturbed))


@pytest.mark.parametrize("whom", ["parent", "all"])
def test_a_signal_to_the_process_that_started_the_others_or_to_all_stops_all_in_good_order(tmp_path, whom):
    done = run("--nproc-per-node 2 --max-epochs 500 --max-restarts 1", tmp_path, disturb=f"TERM {whom} 6")
    assert done.returncode == 143, done.stderr
    assert re.search(r"^stopped by SIGTERM after \d+ of 500 epochs, saved in run; go on", done.stdout, re.MULTILINE)
    assert record(tmp_path)["status"] == "stopped"
    assert 6 <= checkpoint(tmp_path)["student"]["iteration"] < 2000
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_mistake_is_said_once_and_is_the_exit_status(tmp_path):
    done = run("--nproc-per-node 2 --recipe vid,batch_size=1", tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: a batch of 1 cannot be shared by 2 processes")
    assert done.stderr.count("\n") == 1
    done = run("--nproc-per-node 2 --device nonsense", tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: unknown device 'nonsense'"), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_gpu_of_one_process_is_one_line(tmp_path):
    done = run("--nproc-per-node 2", tmp_path, disturb="FULL 1 6")
    assert done.returncode == 1
    assert done.stderr.startswith("error: CUDA out of memory. Tried to allocate 2.00 GiB; smaller batches"), done.stderr
    assert done.stderr.count("\n") == 1


def test_processes_that_are_started_again_have_the_rest_of_the_time(monkeypatch):
    limits, statuses = [], [-9, -9, 0]
    seconds = iter((0.0, 40.0, 130.0))

    class Killed:
        def __init__(self, named):
            limits.extend(plan.time_limit for plan in named.values())

        def run(self):
            return statuses.pop(0)

    monkeypatch.setattr("ignite_kd.launch._Processes", Killed)
    monkeypatch.setattr("ignite_kd.launch.time.monotonic", lambda: next(seconds))
    plan = Plan(
        student="mlp_4", recipe=recipes.get("vid"), terms=(Term("ce"),), output_dir="run", processes=2, time_limit=100.0
    )
    assert launch([plan], max_restarts=2) == 0
    assert limits == [100.0, 60.0, 0.0]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    from ignite_kd import devices, launch

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(devices, "pick_device", lambda word: torch.device(word))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="this machine has 1, so none for process 2"):
        launch._backend("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert (launch._backend("cuda:0"), launch._backend("cpu")) == ("nccl", "gloo")
    with pytest.raises(UserError, match="not mps"):
        launch._backend("mps")
