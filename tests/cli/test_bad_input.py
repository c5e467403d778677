"""Whatever a user gets wrong is answered by one line that helps; exit status 2, and nothing is lost."""

import shlex
import subprocess
import sys

import pytest
import torch
from commands import Done, call
from PIL import Image

from ignite_kd import models
from ignite_kd.engines import StudentEngine
from ignite_kd.weights import save_weights

TEACHER = "--teacher wrn_10_2"
TRANSFER = f"train-with-transfer --dataset shapes --student mlp_8 {TEACHER} --device cpu --max-epochs 1"
ALONE = "train-without-transfer --dataset shapes --model mlp_8 --device cpu --max-epochs 1"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def teacher(tmp_path):
    path = tmp_path / "teacher.th"
    torch.manual_seed(0)
    save_weights(path, models.build("wrn_10_2", 10).state_dict(), {})
    return path


def refused(done, *words, status=2):
    assert done.status == status
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (f"{ALONE} --depth 17 --model wrn_17_1", ["depth 6n + 4", "17", "16 or 22"]),
        ("train-without-transfer --dataset shapes --depth 17", ["17", "16 or 22"]),
        ("train-without-transfer --dataset shapes --width 0", ["width 1 or more"]),
        (f"{ALONE} --dataset cifar11", ["unknown data set 'cifar11'", "did you mean 'cifar10'"]),
        (f"{ALONE} --model wrm_16_2", ["unknown model 'wrm_16_2'", "did you mean 'wrn_16_2'"]),
        (f"{ALONE} --recipe vis", ["unknown recipe 'vis'", "did you mean 'vid'"]),
        (f"{ALONE} --recipe vid,dekay=0.1", ["dekay", "did you mean 'decay'"]),
        (f"{ALONE} --recipe vid,batch_size=20000", ["20000", "at most 8000"]),
        (f"{ALONE} --recipe vid,momentum=0,nesterov=true", ["nesterov", "momentum"]),
        (f"{ALONE} --state-dict-path ''", ["cannot write", "folder"]),
        (f"{ALONE} --recipe vid,decay=-1", ["decay", "positive"]),
        (f"{ALONE} --samples-per-class 100000", ["100000", "more than"]),
        (f"{ALONE} --max-epochs 0", ["--max-epochs"]),
        (f"{ALONE} --seed -1", ["--seed"]),
        (f"{ALONE} --seed 99999999999999999999", ["--seed"]),
        (
            f"{ALONE} --samples-per-class 5 --recipe vid,batch_size=7",
            ["leave a batch of 1, from which mlp_8", "batch_size=N"],
        ),
        (f"{ALONE} --time-limit soon", ["90s, 15m or 2.5h"]),
        (f"{ALONE} --device quantum", ["unknown device 'quantum'", "cpu"]),
        (f"{ALONE} --precision fp12", ["--precision", "bf16"]),
        (f"{ALONE} --precision tf32", ["tf32", "NVIDIA"]),
        (f"{ALONE} --tracker tensorbord", ["did you mean 'tensorboard'"]),
        (f"{ALONE} --max-epoch 3", ["--max-epoch", "--max-epochs"]),
        (f"{ALONE} --state-dict-path /proc/nowhere/x.th", ["cannot write /proc/nowhere/x.th"]),
        (f"{ALONE} --state-dict-path .", ["is a folder"]),
        (f"{ALONE} --output-dir /proc/nowhere", ["/proc/nowhere", "--output-dir"]),
        ("trane", ["unknown command 'trane'", "train-with"]),
        ("list method", ["methods"]),
    ],
)
def test_a_wrong_word_is_named_with_what_is_possible(options, words):
    refused(call(options), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--loss vid:-0.1", ["factor of vid", "-0.1"]),
        ("--loss kd:nan", ["factor of kd", "nan"]),
        ("--loss kd:much", ["'much'", "NAME:FACTOR"]),
        ("--loss kd:1,temperature=0", ["temperature", "0"]),
        ("--loss kd:1,temprature=4", ["temprature", "temperature"]),
        ("--loss kd:1,temperature=abc", ["temperature of kd takes a number, but abc was given"]),
        ("--loss vid:1,stages=true", ["--loss vid cannot be built with stages=True"]),
        ("--loss kb:0", ["unknown method 'kb'"]),
        ("--loss kb:1", ["unknown method 'kb'", "did you mean 'kd'"]),
        ("--loss kd:1 --loss kd:2", ["once"]),
        ("--loss ce:0", ["zero"]),
        ("--loss vid:1,variant=papers", ["paper or benchmark"]),
        ("--loss vid:1,stages=layer9", ["layer9"]),
        ("--loss vid:1 --knowledge-distillation-factor 2", ["--loss replaces"]),
        ("--knowledge-distillation-factor -1", ["factor of kd", "-1"]),
        ("--variational-information-distillation-factor -0.1", ["factor of vid", "-0.1"]),
        ("--knowledge-distillation-temperature 0", ["temperature should be positive"]),
    ],
)
def test_a_wrong_loss_is_named_with_what_is_possible(teacher, options, words):
    refused(call(f"{TRANSFER} {options} --teacher-state-dict-path", teacher), *words)


def test_a_missing_teacher_is_named():
    refused(call(f"{TRANSFER} --teacher-state-dict-path nothing.th"), "nothing.th", "No such file", "train")


@pytest.mark.parametrize("length", [0, 10, 1000, -20])
def test_a_torn_teacher_is_named(teacher, length):
    content = teacher.read_bytes()
    teacher.with_suffix(".torn").write_bytes(content[:length])
    refused(call(f"{TRANSFER} --teacher-state-dict-path", teacher.with_suffix(".torn")), "teacher.torn", "torn")


@pytest.mark.parametrize(
    ("model", "classes", "seen"),
    [
        ("wrn_10_1", 10, "wrn_10_1 with 10 classes"),
        ("wrn_10_2", 7, "wrn_10_2 with 7 classes"),
        ("wrn_16_2", 10, "wrn_16_2"),
    ],
)
def test_a_teacher_of_another_size_than_stated_is_recognised(tmp_path, model, classes, seen):
    save_weights(tmp_path / "other.th", models.build(model, classes).state_dict(), {})
    refused(
        call(f"{TRANSFER} --teacher-state-dict-path other.th"),
        f"other.th looks like {seen}",
        "wrn_10_2 with 10 classes",
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("word", ["cuda", "0", "cuda:1"])
def test_a_gpu_that_is_not_there_is_not_waited_for(word):
    refused(call(f"{ALONE} --device {word}"), "no GPU", "--device cpu")


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    options = f"{ALONE} --samples-per-class 20 --recipe vid,batch_size=50 --output-dir run"
    assert call(options).status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    refused(call(options), "holds a run already", "--resume auto")
    refused(call(f"{options} --resume auto --seed 3"), "cannot be resumed", "seed was 0 and is 3")
    (tmp_path / "run" / "run.json").write_text("{")
    refused(call(f"{options} --resume auto"), "run.json is damaged; restore it")
    (tmp_path / "run" / "run.json").write_bytes(before[tmp_path / "run" / "run.json"])
    assert before == {path: path.read_bytes() for path in before}


def test_a_loss_that_is_no_number_stops_the_run_and_nothing_bad_is_saved(tmp_path):
    options = f"{ALONE} --samples-per-class 20 --output-dir run --state-dict-path net.th --recipe vid,batch_size=50"
    done = call(f"{options},learning_rate=1e30")
    refused(done, "the loss 'ce' was NaN or infinite at epoch 1, iteration ", "no checkpoint was written", status=1)
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))
    assert not (tmp_path / "net.th").exists()


def test_a_disk_that_becomes_full_is_one_line_and_the_run_can_go_on(tmp_path):
    """A limit on the size of files stands for the disk: the weights do not fit, the records do."""
    words = f"{ALONE} --samples-per-class 20 --recipe vid,batch_size=50 --output-dir run --state-dict-path net.th"
    command = [sys.executable, "-m", "ignite_kd", *words.split()]
    limited = subprocess.run(
        ["bash", "-c", f"ulimit -f 20; exec {shlex.join(command)}"], capture_output=True, text=True
    )
    refused(Done(limited.returncode, limited.stdout, limited.stderr), "File too large", "kept", status=1)
    assert not (tmp_path / "net.th").exists()
    again = call(f"{words} --resume auto")
    assert again.status == 0, again.err
    assert (tmp_path / "net.th").exists()


RUN = f"{ALONE} --samples-per-class 20 --recipe vid,batch_size=50 --output-dir run --state-dict-path net.th"


def test_a_gpu_whose_memory_is_full_is_one_line(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.9 GiB free.")

    monkeypatch.setattr(StudentEngine, "_step", staticmethod(full))
    done = call(f"{ALONE} --samples-per-class 20 --recipe vid,batch_size=50")
    refused(done, "CUDA out of memory. Tried to allocate 2.00 GiB; smaller batches (--recipe vid,batch_size", status=1)


def test_checkpoints_without_a_record_are_not_taken_for_another_runs(tmp_path):
    assert call(RUN).status == 0
    (tmp_path / "run" / "run.json").unlink()
    refused(call(f"{RUN} --seed 7 --resume auto"), "run holds checkpoints but no run.json")


def test_a_run_is_not_cut_shorter_than_it_is():
    assert call(f"{RUN} --max-epochs 2").status == 0
    refused(call(f"{RUN} --max-epochs 1 --resume auto"), "is in epoch 2 already", "ask for 2 epochs or more")


def test_weights_that_were_taken_away_are_written_again(tmp_path):
    assert call(RUN).status == 0
    content = (tmp_path / "net.th").read_bytes()
    (tmp_path / "net.th").unlink()
    assert call(f"{RUN} --resume auto").status == 0
    assert (tmp_path / "net.th").read_bytes() == content


def test_a_student_is_not_written_over_its_teacher(teacher):
    done = call(f"{TRANSFER} --state-dict-path ./teacher.th --teacher-state-dict-path", teacher)
    refused(done, "written over its teacher")


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    for i in range(8):
        for part in ("train", "val"):
            path = tmp_path / "mine" / part / f"class{i % 2}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (30 * i, 0, 0)).save(path)
    options = "train-without-transfer --dataset folder --data-dir mine --image-size 16 --model mlp_8 --num-workers 0"
    options += " --recipe vid,batch_size=4 --device cpu --output-dir run --state-dict-path net.th"
    assert call(f"{options} --max-epochs 1").status == 0
    Image.effect_noise((16, 16), 50).save(tmp_path / "mine" / "train" / "class0" / "0.png")
    refused(call(f"{options} --max-epochs 2 --resume auto"), "was trained on other data", "--output-dir")
