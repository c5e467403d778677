"""The second script of the quantification study's read-me (seed 004), on small data."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call
from ignite.engine import Events
from PIL import Image
from study_folders import pictures, tiny  # noqa: F401

from ignite_kd import models
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.weights import save_weights

SMALL = "--model resnet18 --dataset CUB --image-size 64 --batch-size 4 --workers 0 --device cpu --compile off"

pytestmark = pytest.mark.usefixtures("tiny", "pictures")


@pytest.fixture
def teacher(pictures, tiny):  # noqa: F811
    torch.manual_seed(9)
    Path("teacher").mkdir()
    save_weights("teacher/last.th", models.build("resnet18_fc3", 2).state_dict(), {"model": "resnet18_fc3"})
    return "teacher"


def weights(folder):
    return torch.load(Path(folder) / "last.th", weights_only=True)


def lines(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def plan_in(folder):
    return json.loads((Path(folder) / "run.json").read_text())["plan"]


def start():
    """What a baseline of seed 0 starts from."""
    torch.manual_seed(0)
    return models.build("resnet18_fc3", 2)


def test_a_layer_is_imitated_then_frozen_while_the_rest_learns_labels(teacher):
    words = "--mode fc1 --date _0415 --epochs 2 --classify-epochs 2 --lr 0.5 --gpu 0 --save-best-acc false"
    done = call(f"distillation --teacher-checkpoint {teacher} {words} {SMALL}")
    assert done.status == 0, done.err
    first = Path("trained_model/CUB_resnet18_distil_fc1_0415")
    second = first / "classifier"
    begun = start()
    below = tuple(f"{name}." for name in begun.up_to("fc1"))
    learned = {name for name, _ in begun.named_parameters()}
    begun, imitated, ended = begun.state_dict(), weights(first), weights(second)
    for name in imitated:
        lower = name.startswith(below)
        moved = not torch.equal(imitated[name], begun[name]), not torch.equal(ended[name], imitated[name])
        if name in learned:
            assert moved == (lower, not lower), name
        else:  # statistics of batch norms, all of them below
            assert lower and moved == (True, False), name
    (first_line, *_), (line, *_) = lines(first), lines(second)
    assert "train/loss.imitation" in first_line and "train/loss.ce" not in first_line
    assert "train/loss.ce" in line and "validation/accuracy" in line and "validation/accuracy" not in first_line
    assert [found["learning_rate"] for found in (first_line, line)] == [0.5, 1e-2]
    plans = plan_in(first), plan_in(second)
    assert [plan["max_epochs"] for plan in plans] == [2, 2]
    assert plans[0]["teacher_path"] == "teacher/last.th" and plans[1]["teacher"] is None
    assert plans[1]["frozen"] == "fc1" and plans[1]["recipe"]["schedule"] == "plateau"
    again = call(f"distillation --teacher-checkpoint {teacher} {words} {SMALL} --resume auto")
    assert again.status == 0 and again.out.count("is finished") == 2


def test_the_loss_of_the_first_step_is_torchs_for_the_start_of_a_baseline(teacher, monkeypatch):
    planned = []
    monkeypatch.setattr("ignite_kd.launch.launch", lambda plans, _: planned.append(plans[0]) or 0)
    words = f"--mode conv --normalization true --alpha 3 --epochs 1 --lr 1e-3 {SMALL}"
    assert call(f"distillation --teacher-checkpoint {teacher} {words}").status == 0
    session = Session(planned[0])
    kept = {}
    session.student.add_event_handler(
        Events.ITERATION_COMPLETED(once=1),
        lambda engine: kept.update(images=engine.state.batch.images, loss=engine.state.output["loss"]),
    )
    session.run()
    session.close()
    taught = models.build("resnet18_fc3", 2)
    taught.load_state_dict(weights(teacher))
    with torch.no_grad():
        own = start().train().represent(kept["images"]).before_relu["conv"]
        shown = taught.eval().represent(kept["images"]).before_relu["conv"]
    torch.testing.assert_close(kept["loss"], torch.nn.functional.mse_loss(own, 3 * shown), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("layer", "weight"), [("conv", "extra.3.weight"), ("fc1", "mlp.0.weight")])
def test_baseline_and_student_are_quantified_by_the_way_of_the_imitated_layers_own_weight(teacher, layer, weight):
    """All four scripts of the read-me, one after the other."""
    for place in Path("data/CUB/train").glob("*/*.png"):
        mask = Path("masks", *place.parts[3:])
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat([[255] * 35 + [0] * 35], 50, 0).astype(np.uint8)).save(mask)
    runs = {"label_net": "trained_model/CUB_resnet18_without_pretrain"}
    runs["distil_net"] = f"trained_model/CUB_resnet18_distil_{layer}"
    shared = f"--epochs 2 --lr 0.1 --keep-epochs 0,1,2 {SMALL}"
    named = f"--dataset CUB --model resnet18 --capacity_layer {layer} --mask-dir masks"
    quick = "--sigma_size 4 --engine linear --pick_sample false --device cpu --effect_num 6"
    for words in (
        f"train-net --mode without_pretrain {shared}",
        f"distillation --teacher-checkpoint {teacher} --mode {layer} --classifier-train false {shared}",
        *(f"train-sigma --mode {mode} --checkpoint_root {root} {named} {quick}" for mode, root in runs.items()),
        f"find-knowledge --dataset CUB --model-name resnet18 --layer {layer} --threshold 0.01",
    ):
        done = call(words)
        assert done.status == 0, f"{words}: {done.err}"
    told = json.loads(Path("knowledge_txt/explanation.json").read_text())
    for name, root in runs.items():
        path = torch.load(f"{root}/history/weight-path.pt", weights_only=True)
        place = path["layers"].index(weight)
        steps = [epoch[0, 0, place] / path["initial"][0, place] for epoch in path["path"]]  # of this weight alone
        found = told["networks"][name]
        assert found["distances"] == pytest.approx([0, steps[0].item(), (steps[0] + steps[1]).item()], rel=1e-6)
        assert found["numbers"]["D_whole"]["value"] is not None
    assert told["settings"]["masks"] == "object where a cell's top left pixel is"
    text = Path(f"knowledge_txt/CUB_resnet18_{layer}_0415_results.txt").read_text()
    assert "fore max mean, var, slope" in text and text.index("distil_net") < text.index("label_net")


def test_logits_are_imitated_without_a_second_phase(teacher):
    words = f"--mode fc3 --epochs 1 --lr 1e-2 --output-dir out {SMALL}"
    done = call(f"distillation --teacher-checkpoint {teacher}/last.th {words}")
    assert done.status == 0, done.err
    assert not Path("out/classifier").exists()
    assert "validation/accuracy" in lines("out")[0]  # here the classifier learns


@pytest.mark.parametrize("stop", [("out", 3), ("out/classifier", 3)])
def test_a_run_that_was_stopped_in_either_phase_ends_with_the_same_bits(teacher, stop, monkeypatch):
    words = f"distillation --teacher-checkpoint {teacher} --mode fc2 --epochs 2 --classify-epochs 2 --lr 0.1 {SMALL}"
    assert call(f"{words} --output-dir whole").status == 0
    folder, step = stop
    attach = Session._attach_handlers

    def stopping(session):
        attach(session)
        if str(session.folder) == folder:
            session.student.add_event_handler(
                Events.ITERATION_STARTED(once=step), lambda _: os.kill(os.getpid(), signal.SIGTERM)
            )

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_attach_handlers", stopping)
        stopped = call(f"{words} --output-dir out")
    assert "stopped by SIGTERM" in stopped.out and stopped.status == 143
    assert Path("out/classifier").exists() is (folder == "out/classifier")
    done = call(f"{words} --output-dir out --resume auto")
    assert done.status == 0, done.err
    for place in ("", "classifier"):
        one, other = weights(Path("whole") / place), weights(Path("out") / place)
        assert all(torch.equal(t, other[name]) for name, t in one.items())
        one, other = ([{**line, "seconds": 0} for line in lines(Path(top) / place)] for top in ("whole", "out"))
        assert one == other


def test_the_second_phase_goes_on_from_a_first_that_was_trained_alone(teacher):
    words = f"distillation --mode fc2 --epochs 1 --classify-epochs 1 --lr 0.1 {SMALL}"
    assert call(f"{words} --output-dir whole --teacher-checkpoint {teacher}").status == 0
    assert call(f"{words} --output-dir out --teacher-checkpoint {teacher} --classifier-train false").status == 0
    assert not Path("out/classifier").exists()
    done = call(f"{words} --output-dir out --distilation-train false")
    assert done.status == 0, done.err
    one, other = weights("whole/classifier"), weights("out/classifier")
    assert all(torch.equal(t, other[name]) for name, t in one.items())
    # and on to more epochs
    longer = words.replace("--classify-epochs 1", "--classify-epochs 2")
    for folder, how in (("whole", "--resume auto"), ("once", "")):
        done = call(f"{longer} --output-dir {folder} --teacher-checkpoint {teacher} {how}")
        assert done.status == 0, done.err
    one, other = weights("whole/classifier"), weights("once/classifier")
    assert all(torch.equal(t, other[name]) for name, t in one.items())


def test_several_students_share_both_phases(teacher):
    words = f"--mode fc1 --epochs 1 --classify-epochs 1 --lr 0.1 --output-dir out --students 2 {SMALL}"
    done = call(f"distillation --teacher-checkpoint {teacher} {words}")
    assert done.status == 0, done.err
    folders = sorted(folder for folder in Path("out").iterdir() if folder.is_dir())
    assert [folder.name for folder in folders] == ["imitation1-seed0", "imitation1-seed1"]
    for folder in folders:
        assert plan_in(folder / "classifier")["student_path"] == plan_in(folder)["state_dict_path"]
    alone = call(
        f"distillation --teacher-checkpoint {teacher} --mode fc1 --epochs 1 --classify-epochs 1 --lr 0.1 {SMALL}"
    )
    assert alone.status == 0, alone.err
    one, other = (
        weights(folder) for folder in (folders[0] / "classifier", "trained_model/CUB_resnet18_distil_fc1/classifier")
    )
    assert all(torch.equal(t, other[name]) for name, t in one.items())


def test_the_quirks_of_the_released_code_move_statistics(teacher):
    words = f"--mode conv --epochs 1 --classify-epochs 1 --lr 1e-3 {SMALL}"
    released = "--recipe concepts,moving_frozen_norms=true,doubled_forward=true"
    for name, more in (("ours", ""), ("theirs", released)):
        done = call(f"distillation --teacher-checkpoint {teacher} --output-dir {name} {words} {more}")
        assert done.status == 0, done.err
    counter = "bn1.num_batches_tracked"
    counts = [int(weights(f"{name}{place}")[counter]) for name in ("ours", "theirs") for place in ("", "/classifier")]
    assert counts == [2, 2, 4, 6]  # an epoch has two steps


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "--teacher-checkpoint is missing"),
        ("--teacher-checkpoint nowhere.th", "nowhere.th"),
        ("--teacher-checkpoint data", "data is a folder without last.th or <epoch>.pth.tar"),
        ("--mode fc4", "unknown --mode 'fc4'; did you mean"),
        ("--distilation-train false --classifier-train false", "nothing would be learned"),
        ("--distilation-train false --mode fc3", "nothing lies above fc3"),
        ("--distilation-train false", "CUB_resnet18_distil_fc1/last.th"),
        ("--teacher-checkpoint teacher --model vgg11", "looks like resnet18_fc3 with 2 classes, not like"),
        ("--teacher-checkpoint teacher --alpha much", "'much' is not a valid float"),
        ("--teacher-checkpoint teacher --recipe concept", "unknown recipe 'concept'; did you mean 'concepts'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(teacher, words, message):
    done = call(f"distillation {SMALL} {words}")
    assert done.status == 2 and message in done.err, done.err
    assert len(done.err.splitlines()) == 1


def test_the_authors_rates_are_told_where_none_was_typed(monkeypatch, teacher):
    monkeypatch.setattr("ignite_kd.launch.launch", lambda plans, _: 0)
    base = f"distillation --teacher-checkpoint {teacher} --model vgg16"
    assert "--lr 0.0001 --lr-down 1 --logspace true for fc1" in call(base).out
    assert call(f"{base} --lr 1").out == call(f"{base} --mode conv").out == ""


def test_the_defaults_are_the_originals(monkeypatch, teacher):
    planned = []
    monkeypatch.setattr("ignite_kd.launch.launch", lambda plans, _: planned.extend(plans) or 0)
    assert call(f"distillation --teacher-checkpoint {teacher}").status == 0
    first, second = planned
    assert isinstance(first, Plan) and (first.student, first.teacher) == ("vgg16_fc3", "vgg16_fc3")
    assert (first.recipe.learning_rate, first.recipe.decades, first.recipe.batch_size) == (1, 0, 64)
    assert (first.recipe.weight_decay, first.recipe.momentum, first.max_epochs) == (1e-4, 0.9, 150)
    assert (first.image_size, first.recipe.views, first.seed, first.num_workers) == (224, "squash", 0, 8)
    assert first.terms[0].options == {"stages": "fc1"}
    assert (second.recipe.learning_rate, second.max_epochs, second.recipe.decay) == (1e-3, 100, 0.3)


def test_help_has_the_originals_flags_and_does_not_import_torch():
    code = "import sys; sys.argv = ['ignite-kd', 'distillation', '--help']; import ignite_kd.__main__ as m\n"
    code += "try: m.main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    flags = "mode model distilation-train classifier-train date lr lr-down logspace teacher-checkpoint normalization"
    flags += " alpha batch-size epochs classify-epochs start-epoch dataset classes workers seed weight-decay momentum"
    for flag in f"{flags} resume print-freq save-per-epoch gpu save-best-acc".split():
        assert f"--{flag} " in done.stdout, flag
