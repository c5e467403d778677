import json
from pathlib import Path

import pytest
from filled import MINE

from ignite_kd.tables import reproduce


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    return path


@pytest.fixture
def trained(monkeypatch):
    """The groups that are trained, by the folders of their students."""
    groups, launch = [], reproduce.launch

    def watch(plans):
        groups.append([Path(plan.output_dir).name for plan in plans])
        return launch(plans)

    monkeypatch.setattr(reproduce, "launch", watch)
    return groups
