import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import call

from ignite_kd import models
from ignite_kd.cli.export import command
from ignite_kd.weights import read_card

TRAIN = "train-without-transfer --dataset shapes --model mlp_8 --samples-per-class 20 --recipe vid,batch_size=50"
TRAIN += " --device cpu --state-dict-path net.th --output-dir run --max-epochs 2"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_its_flags_are_these():
    flags = {name for parameter in command.params for name in parameter.opts if name.startswith("-")}
    assert flags == {
        "--output", "--format", "--with-normalisation", "--which", "--model", "--num-classes", "--image-size",
        "--dataset", "--data-dir",
    }  # fmt: skip


def test_help_does_not_import_torch():
    code = "import sys; sys.argv = ['x', 'export', '--help']; from ignite_kd.cli import commands\n"
    code += "try: commands()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_run_is_exported_and_what_comes_out_matches_its_card():
    assert call(TRAIN).status == 0
    for which in ("last", "best"):
        done = call(f"export run --which {which} --output {which}.th")
        assert done.status == 0, done.err
        assert [line.split()[0] for line in done.out.splitlines()] == ["network", "wrote", "images", "checked", "use"]
        assert "its logits of 9 random and 64 real images are identical" in done.out
        checked = call(f"evaluate {which}.th --device cpu")
        assert checked.status == 0, checked.out
        assert "check    matches its card (sha256, model, classes, data, split, test accuracy)" in checked.out
        assert read_card(f"{which}.th")["which"] == which
    last, trained = (torch.load(path, weights_only=True) for path in ("last.th", "net.th"))
    assert all(torch.equal(last[name], trained[name]) for name in trained)

    files = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    for path in files:  # what the run goes on with, and is shown by, is not written over
        done = call(f"export run --output {path}")
        assert (done.status, done.err.count("\n")) == (2, 1), path
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == files
    assert call("export run --output run/student.th").status == 0 == call("export run --output run/student.th").status

    done = call("export net.th --output net.pt2 --with-normalisation")
    assert (done.status, done.err) == (0, "")
    assert "use      torch.export.load('net.pt2').module()(images)" in done.out
    images = torch.rand(3, 3, 32, 32)
    model = models.build("mlp_8", 10)
    model.load_state_dict(trained)
    with torch.no_grad():
        assert torch.equal(torch.export.load("net.pt2").module()(images), model.eval()((images - 0.5) / 0.277))


def test_every_mistake_is_one_line():
    torch.save(models.build("mlp_8", 10).state_dict(), "net.th")
    Path("empty").mkdir()
    for words, told in (
        ("nowhere.th --output a.th", "cannot read nowhere.th"),
        ("empty --output a.th", "empty holds no run"),
        ("net.th", "--output"),
        ("net.th --output empty", "it is a folder"),
        ("net.th --output a.th --format jit", "jit"),
        ("net.th --output a.th --which first", "first"),
        ("net.th --output a.th --num-classes 0", "0"),
        ("net.th --output a.pt2 --with-normalisation", "--dataset"),
        ("net.th --output a.th --num-classes 100", "not like mlp_8 with 100 classes"),
        ("empty --output a.th --model mlp_8", "whose record does"),
    ):
        done = call(f"export {words}")
        assert (done.status, done.err.count("\n")) == (2, 1), (words, done)
        assert done.err.startswith("error: ") and told in done.err, done.err
    assert not list(Path().glob("a.*"))
