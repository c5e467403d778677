import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (
    f"{ROOT / 'train_without_transfer.py'} --dataset shapes --model mlp_8 --samples-per-class 20 --device cpu "
    "--recipe vid,batch_size=50,validation_images=100 --output-dir run --state-dict-path net.th --nproc-per-node 2"
)


def run(words, folder):
    return subprocess.run(
        [sys.executable, *COMMAND.split(), *words.split()], cwd=folder, capture_output=True, text=True, check=False
    )


def test_two_processes_make_one_run_that_can_be_resumed(tmp_path):
    done = run("--max-epochs 1", tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("--max-epochs 2 --resume auto", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^epoch (\d)/2", done.stdout, re.MULTILINE) == ["2"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [4, 8]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    assert (tmp_path / "net.th").exists()


def test_a_mistake_is_said_once_and_is_the_exit_status(tmp_path):
    done = run("--max-epochs 1 --recipe vid,batch_size=1", tmp_path)
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "cannot be shared by 2 processes" in errors[0]
    assert "Traceback" not in done.stderr
