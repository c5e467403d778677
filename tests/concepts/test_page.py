import base64

from parsed import parse

from ignite_kd.concepts.drawing import Picture
from ignite_kd.concepts.page import details, figure, items, page, paragraph, section, table

NASTY = """<script>alert("&'")</script>"""


def test_words_are_words_and_never_markup(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8) + bytes([0, 0, 2, 88, 0, 0, 1, 44]))
    picture = Picture(tmp_path / "a.png", NASTY, NASTY, NASTY)
    parts = [paragraph(NASTY), items([(NASTY,) * 3]), table(NASTY, [NASTY], [[NASTY, (NASTY, NASTY)]]), details(NASTY)]
    found = parse(page(NASTY, [section(NASTY, *parts, figure(picture))]))
    assert "script" not in found.tags
    assert found.text.count(NASTY) == 2 + 1 + 1 + 3 + 4 + 1 + 2
    (image,) = found.all("img")
    assert image["alt"] == NASTY
    assert found.all("div")[0]["aria-label"] == NASTY


def test_a_picture_is_in_the_page_and_as_large_as_it_is_in_inches(tmp_path):
    content = b"\x89PNG\r\n\x1a\n" + bytes(8) + bytes([0, 0, 2, 88, 0, 0, 1, 44])  # 600 × 300 dots, 120 to an inch
    (tmp_path / "a.png").write_bytes(content)
    (image,) = parse(figure(Picture(tmp_path / "a.png", "t", "r", "a"))).all("img")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == content
    assert (image["width"], image["height"]) == ("480", "240")


def test_nothing_makes_no_paragraph():
    assert paragraph("") == ""
    assert parse(section("t", "", paragraph("one"))).tags.count("p") == 1


def test_details_are_closed():
    assert parse(details("all", paragraph("one"))).all("details") == [{}]
