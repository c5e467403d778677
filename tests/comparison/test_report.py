import math

from compared import RECORDED, comparison, row

from ignite_kd.comparison.report import markdown
from ignite_kd.comparison.result import Recorded

NOBODY = Recorded(None, None, None, None, None, None, None, None)


def tables(text):
    """Heading → rows of cells, the head first; every line of a table has the same length."""
    found = {}
    for line in text.splitlines():
        if line.startswith("## "):
            found[(heading := line[3:])] = []
        elif line.startswith("| "):
            found[heading].append([cell.strip() for cell in line.strip("|").split(" |")])
            assert len({len(cells) for cells in found[heading]}) == 1
    return found


def test_every_number_has_its_place_and_what_nobody_knows_is_a_dash():
    one = row("one", [0.5, math.nan])
    two = row("two", [0.75, 0.5], recorded=NOBODY, teacher=None, agreement=None, alignment=None)
    text = markdown(comparison(one, two), pictures=["curves.png"])
    recorded, measured, aligned, classes, _ = tables(text).values()
    assert recorded[1] == ["one", "wrn_16_1", "175,066", "1 ce + 1 kd", "3", "1.2", "50.00%", "60.00%", "55.00%", "-"]
    assert recorded[2] == ["two", "wrn_16_1", "175,066", "-", "-", "-", "-", "-", "-", "-"]
    assert measured[1] == ["one", "50.00%", "1.5000", "12.30%", "teacher.th", "80.00%", "-", "0.3000", "0.9000"]
    assert measured[2] == ["two", "50.00%", "1.5000", "12.30%", *"-----"]
    assert aligned == [["run", "with", "b"], ["one", "teacher.th", "0.900"]]
    assert classes == [["class", "images", "one", "Δ two"], ["cat", "2", "50.0%", "+25.0"], ["dog", "2", "-", "-"]]
    assert "the test set (4 of 10 images)" in text
    assert "![curves.png](curves.png)" in text
    assert text.endswith("## Notes\n\n- look here\n")


def test_a_run_that_is_on_its_way_says_how_far():
    halfway = Recorded(**(vars(RECORDED) | {"epochs": 2, "planned": 8}))
    text = markdown(comparison(row("one", [0.5, 0.5], recorded=halfway)))
    assert tables(text)["What is recorded"][1][4] == "2 of 8"


def test_a_terminal_shows_the_classes_that_differ_most_a_file_all():
    classes = tuple(f"class{i}" for i in range(50))
    one, two = row("one", [0.5] * 50), row("two", [0.5 + (-1) ** i * i / 100 for i in range(50)])
    found = comparison(one, two, classes=classes)
    shown = tables(markdown(found, whole=False))["Accuracy by class, the 20 of 50 that differ most"][1:]
    assert [cells[0] for cells in shown] == [f"class{i}" for i in range(49, 29, -1)]
    assert len(tables(markdown(found))["Accuracy by class"]) == 51


def test_a_bar_in_a_name_breaks_no_table():
    text = markdown(comparison(row("one", [0.5, 0.5]), classes=("a|b", "dog")))
    assert "| a\\|b  |" in text
