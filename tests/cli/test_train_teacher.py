import json
from pathlib import Path

from commands import call

from ignite_kd import load_weights, models


def test_a_teacher_trains_in_repdistillers_folder_and_its_file_teaches(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = "--dataset shapes --samples-per-class 20 --device cpu --epochs 1 --batch_size 50"
    done = call(f"train-teacher --model ShuffleV2 -t 2 {small}")
    assert done.status == 0, done.err
    folder = Path("save/models/ShuffleV2_shapes_lr_0.01_decay_0.0005_trial_2")
    record = json.loads((folder / "run.json").read_text())
    assert record["plan"]["seed"] == 2 and record["plan"]["terms"] == [
        {"method": "ce", "factor": 1.0, "options": {}, "warm_up": 0}
    ]
    assert json.loads((folder / "metrics.jsonl").read_text())["learning_rate"] == 0.01
    load_weights(models.build("ShuffleV2", 10), folder / "ShuffleV2_last.pth")
    done = call(f"train-student --path_t {folder}/ShuffleV2_last.pth --model_s resnet8 --distill kd -a 1 {small}")
    assert done.status == 0, done.err
    assert "teacher  ShuffleV2" in done.out
