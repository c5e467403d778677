import json
from dataclasses import replace
from itertools import dropwhile, takewhile

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
    """Of the first table below the heading, its head and a line included."""
    lines = dropwhile(lambda line: not line.startswith("|"), text.split(heading)[1].splitlines())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in takewhile(lambda x: x[:1] == "|", lines)]


def test_the_numbers_of_the_worked_example_stand_in_the_table(build):
    text = markdown(build("one", noise=0.9, noises=4, notes=["look here"]))
    head, _, row = rows(text, "# What 1 network learned: `pooled`, 3 images")[:3]
    assert dict(zip(head, row, strict=True)) == {
        "network": "one", "epochs": "0, 2, 5, 10", "N_fg": "2.00 ± 0.00", "N_bg": "2.00 ± 0.82",
        "ratio": "0.522 ± 0.110", "D_mean": "0.507 ± 0.223", "D_std": "0.223", "D_var": "0.050",
        "rho": "0.550 ± 0.324", "rho_trained": "0.550 ± 0.324",
    }  # fmt: skip
    assert "Engine: sampled" in text and "rho 0.900" in text and "- look here" in text
    assert "4 noises at the last checkpoint of one" in text
    assert rows(text, "## Candidates")[2] == ["one", "3", "1"]
    assert "Differences" not in text and "Over seeds" not in text


def test_every_number_of_an_inexact_engine_is_marked_and_its_deviation_told(build):
    text = markdown(build("one", "two", engine="linear", deviation="0.01 nats", noise=0.9))
    assert "gives rho ≈\N{NO-BREAK SPACE}0.900" in text
    assert all(cell.startswith(("≈", "–")) for row in rows(text, "## Differences")[2:] for cell in row[1:])
    assert "Deviation of its maps from sampled ones: 0.01 nats" in text
    for heading in ("# What 2 networks", "## Other margins"):
        for row in rows(text, heading)[2:]:
            assert row[2].startswith("≈") and all(cell.startswith("≈") for cell in row[3:]), row


def test_seeds_and_differences_have_tables_of_their_own(build):
    groups = {"alone": ["alone-seed0", "alone-seed1"], "kd": ["kd-seed0", "kd-seed1"]}
    text = markdown(build("alone-seed0", "alone-seed1", "kd-seed0", "kd-seed1", groups=groups))
    seeds = rows(text, "## Over seeds")
    assert [row[:3] for row in seeds[2:4]] == [["alone", "2", "2.00 ± 0.00"], ["kd", "2", "2.00 ± 0.00"]]
    differences = rows(text, "## Differences to alone (mean of 2 seeds), with their 95 % interval over images")
    assert [row[:2] for row in differences[2:]] == [["kd (mean of 2 seeds)", "+0.00 (+0.00 to +0.00)"]]
    assert rows(text, "## Other margins")[2][:2] == ["0.05", "alone-seed0"]
    assert "Other margins" not in markdown(build("one"), whole=False)


def test_test_accuracy_stands_first_where_it_is_known(build):
    known = build("one", "two")
    networks = [replace(known.networks[0], about={"test accuracy": 0.3525}), known.networks[1]]
    head, _, *found = rows(markdown(replace(known, networks=networks)), "# What 2 networks")
    assert head[:3] == ["network", "test accuracy", "epochs"]
    assert [row[:2] for row in found] == [["one", "35.2%"], ["two", "–"]]


def test_differences_are_to_what_they_were_computed_from(build):
    """A training of which there is one seed is held against the first training, a method against the first method."""
    groups = {"alone": ["alone-0", "alone-1"], "kd": ["kd-0", "kd-1"]}
    text = markdown(build("alone-0", "alone-1", "kd-0", "kd-1", "vid", groups=groups))
    assert "## Differences to alone (mean of 2 seeds) or alone-0, with" in text


def test_without_masks_all_concepts_are_counted(build):
    head = rows(markdown(build("one", "two", masks=False)), "# What 2 networks")[0]
    assert head == ["network", "epochs", "N", "D_mean", "D_std", "D_var", "rho_all"]


def test_machines_get_plain_values(build):
    found = to_json(build("one", "two"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    one = found["networks"]["one"]
    assert one["counts"]["foreground"] == [[0, 1, 1, 2], [0, 4, 5, 2], [0, 2, 1, 2]]
    assert one["numbers"]["ratio"]["value"] == pytest.approx(0.522222, abs=5e-7)
    assert one["never reached the threshold"] == 2 and found["differences"]["two: N"] == [0, 0, 0]
    assert found["other margins"]["0.2"]["one"]["N_fg"]["value"] == 2
