import json
import statistics

from ignite_kd.cards import read_card
from ignite_kd.comparison import compare
from ignite_kd.export import export
from ignite_kd.quickstart import Settings, quickstart

TINY = Settings(
    model="mlp_16", teacher_images=200, teacher_epochs=1, samples_per_class=5, epochs=5,
    validation_images=20, test_images=100,
)  # fmt: skip


def test_it_trains_every_method_on_each_seed_and_leaves_table_curves_and_a_picture(tmp_path):
    lines = []
    accuracies = quickstart(tmp_path, range(2), lines.append, TINY)
    assert {method: len(values) for method, values in accuracies.items()} == {"alone": 2, "with KD": 2, "with VID": 2}
    table = next(line for line in lines if "mean ± std of 2 seeds" in line)
    for method, values in accuracies.items():
        mean, std = 100 * statistics.mean(values), 100 * statistics.stdev(values)
        assert f"{method:<10}{mean:5.1f} ±{std:4.1f}" in table
    for name in ("data", "curves"):
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["accuracies"] == accuracies
    epochs = [json.loads(line) for line in (tmp_path / "with-VID-seed1" / "metrics.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5]
    assert "train/loss.vid" in epochs[0]
    for name, accuracy in (("alone-seed0", accuracies["alone"][0]), ("with-VID-seed1", accuracies["with VID"][1])):
        card = read_card(tmp_path / f"{name}.th")
        assert (card["model"], card["dataset"], card["accuracy"]) == ("mlp_16", "shapes", accuracy)


def test_compare_and_export_take_what_it_leaves(tmp_path):
    quickstart(tmp_path, [0], lambda line: None, TINY)
    alone, taught, teacher = (str(tmp_path / f"{name}.th") for name in ("alone-seed0", "with-VID-seed0", "teacher"))
    found = compare([alone, taught], teacher=teacher, images=20, device="cpu")
    assert [row.model for row in found.rows] == ["mlp_16", "mlp_16"]
    done = export(taught, str(tmp_path / "student.th"))
    assert done.card["model"] == "mlp_16" and done.card["export"]["check"]["largest_difference"] == 0


def test_it_gives_the_same_numbers_again(tmp_path):
    one, other = (quickstart(tmp_path / name, [1], lambda line: None, TINY) for name in ("one", "other"))
    assert one == other
