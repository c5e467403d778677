import pytest
from commands import call

from ignite_kd import quickstart


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = {"model": "mlp_8", "teacher_images": 100, "teacher_epochs": 1, "samples_per_class": 2, "epochs": 1}
    tiny = quickstart.Settings(**sizes, batch_size=5, validation_images=20, test_images=20)
    monkeypatch.setattr(quickstart, "Settings", lambda: tiny)


def test_each_time_it_has_a_folder_of_its_own(tmp_path):
    for _ in range(2):
        done = call("quickstart --seeds 1")
        assert done.status == 0, done.err
        assert "with VID" in done.out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["quickstart", "quickstart-2"]


def test_results_are_never_overwritten():
    assert call("quickstart --seeds 1 --output-dir here").status == 0
    refused = call("quickstart --seeds 1 --output-dir here")
    assert refused.status == 2
    assert "here holds a run already" in refused.err


def test_a_place_that_cannot_be_written_is_refused_at_once():
    refused = call("quickstart --output-dir /proc/nowhere")
    assert refused.status == 2
    assert refused.err.count("\n") == 1
