import json
import os
import signal

import pytest
import torch

from ignite_kd.cli.knowledge import stoppable, tell, writable
from ignite_kd.concepts import report
from ignite_kd.concepts.conclusion import Measured, conclude
from ignite_kd.concepts.desk import StoppedError
from ignite_kd.errors import UserError


@pytest.fixture
def found():
    """Two images whose object, four cells in the middle, is all that the last checkpoint keeps."""
    middle = torch.zeros(2, 4, 4, dtype=torch.bool)
    middle[:, 1:3, 1:3] = True
    maps = torch.stack([torch.zeros(2, 4, 4), -1.0 * middle], dim=1)
    one = Measured(name="one", about={}, layer="pooled", epochs=[0, 5], maps=maps, fates={"kept": 2})
    pictures = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    return conclude([one], (middle, ~middle), 0.2, names=["a", "b"], pictures=pictures)


def test_what_was_found_is_printed_and_written_with_the_report(found, tmp_path, capsys, monkeypatch):
    written = []
    monkeypatch.setattr(report, "write", lambda explanation, folder: written.append((explanation, folder)))
    tell(found, tmp_path)
    assert written == [(found, tmp_path)]
    shown, text = capsys.readouterr().out, (tmp_path / "table.md").read_text()
    assert "4.00 ± 0.00" in shown and "4.00 ± 0.00" in text
    assert "Other margins" in text and "Other margins" not in shown
    tell(found, tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "explanation.json").read_text())
    tell(found, None)
    assert len(written) == 2


def test_a_picture_that_fails_costs_no_number(found, tmp_path, monkeypatch):
    def fail(explanation, folder):
        raise ValueError("no picture")

    monkeypatch.setattr(report, "write", fail)
    with pytest.raises(ValueError, match="no picture"):
        tell(found, tmp_path)
    assert json.loads((tmp_path / "explanation.json").read_text()) and (tmp_path / "table.md").exists()


def test_a_stop_is_told_and_a_signal_too_late_is_none(capsys):
    with stoppable(None) as stopping:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.asked()
        raise StoppedError
    assert stopping.status == 143 and "stopped by SIGTERM; what was computed is kept" in capsys.readouterr().err
    with stoppable(None) as stopping:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopping.status == 0


def test_a_folder_that_cannot_be_written_is_refused_at_once():
    assert writable(None) is None
    with pytest.raises(UserError, match="cannot write /proc/nowhere"):
        writable("/proc/nowhere")
