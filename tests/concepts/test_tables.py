import json

import pytest
import torch

from ignite_kd.concepts.conclusion import Measured, conclude
from ignite_kd.concepts.tables import markdown, to_json


@pytest.fixture
def build(maps, foreground, distances):
    def build(*names, masks=True, **more):
        told = {"about": {"network": "mlp_8"}, "layer": "pooled", "epochs": [0, 2, 5, 10], "maps": maps}
        told |= {"distances": distances, "fates": {"kept": 3, "the feature does not move": 1}, "never": 2}
        networks = [Measured(name=name, **told) for name in names]
        return conclude(
            networks, (foreground, ~foreground) if masks else None, 0.2, names=["a", "b", "c"], resamples=5,
            pictures=torch.zeros(3, 3, 4, 4, dtype=torch.uint8), **more,
        )  # fmt: skip

    return build


def rows(text, heading):
    lines = text.split(heading)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:] if line.startswith("|")]
    return cells


def test_the_numbers_of_the_worked_example_stand_in_the_table(build):
    text = markdown(build("one", engine="linear", deviation="0.01 nats", noise=0.9, notes=["look here"]))
    head, _, row = rows(text, "# What 1 network learned: `pooled`, 3 images")[:3]
    assert dict(zip(head, row, strict=True)) == {
        "network": "one", "epochs": "0, 2, 5, 10", "N_fg": "2.00 ± 0.00", "N_bg": "2.00 ± 0.82",
        "ratio": "0.522 ± 0.110", "D_mean ± D_std": "0.507 ± 0.223", "ρ": "0.550 ± 0.324",
        "ρ, trained": "0.550 ± 0.324", "D_var": "0.050",
    }  # fmt: skip
    assert "off the sampled one by 0.01 nats" in text and "ρ 0.900" in text and "- look here" in text
    assert rows(text, "## Candidates")[2] == ["one", "3", "1"]
    assert "Differences" not in text and "Over seeds" not in text


def test_seeds_and_differences_have_tables_of_their_own(build):
    groups = {"alone": ["alone-seed0", "alone-seed1"], "kd": ["kd-seed0", "kd-seed1"]}
    text = markdown(build("alone-seed0", "alone-seed1", "kd-seed0", "kd-seed1", groups=groups))
    seeds = rows(text, "## Over seeds")
    assert [row[:3] for row in seeds[2:4]] == [["alone", "2", "2.00 ± 0.00"], ["kd", "2", "2.00 ± 0.00"]]
    differences = rows(text, "## Differences to alone")
    assert differences[2][:2] == ["kd", "+0.00 [+0.00, +0.00]"]
    assert rows(text, "## Other margins")[2][:2] == ["0.05", "alone-seed0"]
    assert "Other margins" not in markdown(build("one"), whole=False)


def test_without_masks_all_concepts_are_counted(build):
    head = rows(markdown(build("one", "two", masks=False)), "# What 2 networks")[0]
    assert head == ["network", "epochs", "N", "D_mean ± D_std", "ρ", "D_var"]


def test_machines_get_plain_values(build):
    found = to_json(build("one", "two"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    one = found["networks"]["one"]
    assert one["counts"]["foreground"] == [[0, 1, 1, 2], [0, 4, 5, 2], [0, 2, 1, 2]]
    assert one["numbers"]["ratio"]["value"] == pytest.approx(0.522222, abs=5e-7)
    assert one["never reached the threshold"] == 2 and found["differences"]["two: N"] == [0, 0, 0]
    assert found["other margins"]["0.2"]["one"]["N_fg"]["value"] == 2
