"""The page is read by a parser; where a browser is found, by a browser too."""

import json
import re
import shutil
import subprocess

import pytest
from explained import explained, explanation, made_up
from parsed import parse

from ignite_kd.concepts.explanation import Number
from ignite_kd.concepts.hypotheses import HYPOTHESES
from ignite_kd.concepts.report import html, write

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

ODD = {
    "one of everything": {},
    "no masks": {"networks": 2, "images": 3, "checkpoints": 4, "masks": False},
    "no distances": {"networks": 2, "images": 3, "checkpoints": 4, "distances": False},
    "eight networks, 22 checkpoints": {"networks": 8, "images": 2, "checkpoints": 22},
}


def two(**changes):
    differences = {"kd: N_fg": (0.5, 0.1, 0.9), "kd: N_bg": (0.5, 0.1, 0.9), "kd: rho": (0.1, -0.1, 0.3)}
    return explanation(explained(), explained("kd"), **({"differences": differences} | changes))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("report")
    write(two(engine="linear", deviation="0.0123 nats a cell"), folder)
    return folder


def test_the_page_needs_nothing_else(written):
    page = parse((written / "report.html").read_text())
    assert page.all("html") == [{"lang": "en"}] and page.tags.count("title") == 1
    assert "script" not in page.tags
    pictures = page.all("img")
    assert len(pictures) == len(list((written / "pictures").iterdir())) == 9
    for image in pictures:
        assert image["alt"] and image["src"].startswith("data:image/png;base64,")
    resources = [value for _, attributes in page.found for name, value in attributes.items() if name in ("src", "href")]
    assert all(value.startswith("data:") for value in resources)
    assert not re.search(r"https?:|url\(|@import", (written / "report.html").read_text())


def test_its_numbers_are_those_of_the_worked_example():
    page = parse(html(two(), []))
    (alone,) = [row for row in page.rows if row[0] == "alone" and "±" in row[1]]
    assert alone[1:] == [
        "2.00 ± 0.00",
        "2.00 ± 0.82",
        "0.522 ± 0.110",
        "0.507 ± 0.223",
        "0.223",
        "0.050",
        "0.550 ± 0.324",
        "0.550 ± 0.324",
    ]
    (kd,) = [row for row in page.rows if row[0] == "kd" and "±" in row[1]]
    assert kd[1] == "2.00 ± 0.00+0.50 (+0.10 to +0.90)" and kd[3] == "0.522 ± 0.110"


def test_every_published_claim_is_answered():
    text = parse(html(two(), [])).text
    for claims in HYPOTHESES.values():
        for claim in claims:
            assert claim.words in text
    assert "kd: holds. N_fg is" in text and "kd: does not hold. N_bg is" in text
    assert "kd: cannot be told. rho is" in text and "kd: was not measured. ratio is" in text


def test_the_deviation_of_the_engine_stands_once_at_the_top(written):
    text = parse((written / "report.html").read_text()).text
    assert text.count("0.0123 nats a cell") == 1
    assert text.index("0.0123 nats a cell") < text.index("N_fg")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("the central box is the object", "Object, on this page, is the central box of every image"),
        ("object where half of a cell is", "known from masks of the images: object where half of a cell is."),
    ],
)
def test_how_the_object_is_decided_stands_at_the_top(words, told):
    text = parse(html(explanation(settings={"masks": words}), [])).text
    assert told in text and text.index(told) < text.index("Networks")
    assert "all cells count alike" in parse(html(explanation(explained(masks=False), masks=False), [])).text


def test_what_networks_have_in_common_is_said_once_and_what_nobody_knows_not_at_all():
    def one(name, accuracy, recipe):
        about = {"network": "wrn_10_1", "recipe": recipe, "seed": None, "test accuracy": accuracy, "loss": "1 ce"}
        return explained(name, about=about)

    page = parse(html(explanation(one("a", 0.3525, "vid"), one("b", None, None)), []))
    at = page.rows.index(["name", "test accuracy", "recipe"])
    assert page.rows[at + 1 : at + 3] == [["a", "35.2%", "vid"], ["b", "–", "–"]]
    assert "Of all: layer pooled; kept epochs 0, 2, 5, 10; network wrn_10_1; loss 1 ce." in page.text
    assert "None" not in page.text


def test_the_baseline_has_the_name_of_its_group_and_a_row_in_its_table():
    groups = {"alone": ["alone-0", "alone-1"], "kd": ["kd-0", "kd-1"]}
    networks = [explained(name) for members in groups.values() for name in members]
    differences = {"kd: N_fg": (0.5, 0.1, 0.9)}
    page = parse(html(explanation(*networks, groups=groups, differences=differences), []))
    assert "taken to be the first, alone (mean of 2 seeds);" in page.text
    assert "the difference to alone (mean of 2 seeds), with" in page.text
    first, *_ = (row for row in page.rows if row[0] == "alonemean of 2 seeds")
    assert first[1] == "2.00 ± 0.00"
    # a single training that several seeds are compared with stands above them, too
    page = parse(html(explanation(*networks[1:], groups={"kd": groups["kd"]}, differences=differences), []))
    at = [row[0] for row in page.rows].index("method")
    assert [row[0] for row in page.rows[at + 1 : at + 3]] == ["alone-1one training", "kdmean of 2 seeds"]


def test_who_had_no_teacher_is_not_judged():
    networks = explained(), explained("kd", about={"loss": "1 ce + 0.3 kd"}), explained("big")
    text = parse(html(explanation(*networks), [])).text
    assert "because they had no teacher: big." in text and "kd: was not measured" in text
    assert "big: was not measured" not in text


def test_other_margins_have_a_table_and_claims_that_turn_are_named():
    def numbers(ratio):
        return {"ratio": Number(ratio, 0.1)}

    networks = [explained(name, numbers=numbers(ratio)) for name, ratio in (("alone", 0.5), ("kd", 0.4))]
    sweep = {0.05: {"alone": numbers(0.5), "kd": numbers(0.6)}, 0.5: {"alone": numbers(0.25), "kd": {}}}
    page = parse(html(explanation(*networks, sweep=sweep, engine="linear"), []))
    for row in (
        ["margin", "0.05", "0.5"],
        ["ratio, alone", "≈\xa00.500", "≈\xa00.250"],
        ["ratio, kd", "≈\xa00.600", "–"],
    ):
        assert row in page.rows
    assert "ratio of kd: changes its sign. +0.100 at 0.05, −0.100 at 0.2." in page.text
    del sweep[0.05]
    text = parse(html(explanation(*networks, sweep=sweep), [])).text
    assert "No difference that a claim is about changes its sign with the margin." in text


def test_the_page_says_which_images_it_is_about_and_promises_no_more():
    fates = {"kept": 5, "the object is discarded more than the ground": 1}
    text = parse(html(explanation(explained(fates=fates), explained("kd")), [])).text
    assert "whose object every network discards less than the ground at its last checkpoint" in text
    assert "Where more than 3 are kept, a network after it dropped some of them." in text
    assert "Where more" not in parse(html(explanation(), [])).text
    assert "whose object" not in parse(html(explanation(explained(masks=False), masks=False), [])).text


def test_names_are_escaped_and_fates_counted():
    name = "<b>&\"'"
    page = parse(html(explanation(explained(), explained(name, never=7, fates={"kept": 3, "odd": 4})), []))
    assert "b" not in page.tags
    (fates,) = [row for row in page.rows if row[0] == name and row[-1] == "7"]
    assert fates == [name, "3", "0", "4", "7"]
    assert "never reached" in page.text and "never reached" not in parse(html(explanation(), [])).text


def test_a_difference_stands_where_it_belongs():
    """A method is called as its first seed where its runs' names tell no better: then it is the method's difference."""
    groups = {"alone-0": ["alone-0", "alone-1"], "kd-0": ["kd-0", "kd-1"]}
    networks = [explained(name) for members in groups.values() for name in members] + [explained("teacher")]
    differences = {"kd-0: N_fg": (0.5, 0.1, 0.9), "teacher: N_fg": (0.7, 0.3, 1.1)}
    rows = parse(html(explanation(*networks, groups=groups, differences=differences), [])).rows
    first_numbers = {row[0]: row[1] for row in rows if row[1:] and row[1].startswith("2.00")}
    assert first_numbers == {
        "alone-0": "2.00 ± 0.00", "alone-1": "2.00 ± 0.00", "kd-0": "2.00 ± 0.00", "kd-1": "2.00 ± 0.00",
        "teacher": "2.00 ± 0.00+0.70 (+0.30 to +1.10)", "alone-0mean of 2 seeds": "2.00 ± 0.00",
        "kd-0mean of 2 seeds": "2.00 ± 0.00+0.50 (+0.10 to +0.90)",
    }  # fmt: skip


def test_seeds_of_one_method_have_nothing_to_be_compared_with(tmp_path):
    whole = explanation(explained("a-0"), explained("a-1"), groups={"a-0": ["a-0", "a-1"]})
    page = parse(html(whole, []))
    assert "one alone says nothing" in page.text and "ul" not in page.tags


def test_notes_are_told():
    assert "Notes" not in parse(html(explanation(), [])).text
    assert "<look> here" in parse(html(explanation(notes=("<look> here",)), [])).text


def test_settings_inside_settings_are_told():
    settings = {"constants": {"grid": 8, "entropy_weight": 7.0}, "epochs": [0, 2], "command": "explain a b"}
    rows = parse(html(explanation(settings=settings), [])).rows
    for row in (["constants.grid", "8"], ["epochs", "0, 2"], ["command", "explain a b"], ["margin", "0.2 (published)"]):
        assert row in rows


def test_constants_of_all_networks_stand_once_and_closed():
    constants = {name: {"grid": 8, "steps": steps} for name, steps in (("a", 40), ("b", 55))}
    page = parse(html(explanation(settings={"constants": constants, "asked": {"epochs": None}}), []))
    assert [row for row in page.rows if row[0].startswith(("constants", "asked"))] == [
        ["constants.grid", "8"], ["constants.a.steps", "40"], ["constants.b.steps", "55"],
    ]  # fmt: skip
    assert page.tags.count("details") == 1


def test_the_maps_of_other_seeds_are_closed(tmp_path):
    pytest.importorskip("matplotlib")
    networks = [explained(name) for name in ("a-0", "a-1", "b")]
    write(explanation(*networks, groups={"a": ["a-0", "a-1"]}), tmp_path)
    before, _, after = (tmp_path / "report.html").read_text().partition("<summary>Entropy maps of the other seeds")
    assert "Entropy maps of a-0." in before and "Entropy maps of b." in before
    assert "Entropy maps of a-1." in after and "Entropy maps of a-1." not in before


@pytest.mark.parametrize("sizes", ODD.values(), ids=ODD)
def test_odd_sizes_are_a_page_too(sizes):
    whole = made_up(**sizes)
    page = parse(html(whole, []))
    for network in whole.networks:
        assert any(row[0] == network.name for row in page.rows)
    assert not re.search(r"\bnan\b", page.text)


def test_without_matplotlib_there_is_a_page_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("ignite_kd.handlers.plots.available", lambda: False)
    write(explanation(), tmp_path)
    page = parse((tmp_path / "report.html").read_text())
    assert "Pictures need matplotlib" in page.text and "img" not in page.tags
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html"]


_LOOK = """<script>
addEventListener("load", () => console.log(JSON.stringify({
  window: innerWidth, page: document.documentElement.scrollWidth,
  pictures: [...document.images].map(image => image.naturalWidth),
  boxes: [...document.querySelectorAll(".wide")].map(box => [box.scrollWidth, box.clientWidth])})));
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_all_of_it_without_a_complaint(written, tmp_path, width):
    (tmp_path / "report.html").write_text((written / "report.html").read_text().replace("</body>", _LOOK))
    # in a frame, because the browser makes no window as narrow as a phone
    (tmp_path / "frame.html").write_text(
        f'<!DOCTYPE html><link rel="icon" href="data:,"><iframe src="report.html" width="{width}" height="900" '
        'style="border: 0"></iframe>'
    )
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --v=0 --window-size=1300,1000 --dump-dom"
    )
    done = subprocess.run(
        [BROWSER, *flags.split(), f"--user-data-dir={tmp_path / 'browser'}", f"file://{tmp_path / 'frame.html'}"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    (heard,) = re.findall(r'CONSOLE.*?\] "(.*)", source', done.stderr)  # what was measured, and no complaint beside it
    seen = json.loads(heard)
    assert seen["window"] == width
    assert len(seen["pictures"]) == 9 and min(seen["pictures"]) > 0
    assert seen["page"] <= width
    if width == 390:
        assert any(content > box for content, box in seen["boxes"])
