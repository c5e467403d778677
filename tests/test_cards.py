import json

import pytest

from ignite_kd.cards import (
    accuracy_of,
    any_card,
    card_path,
    check_place,
    epochs_of,
    read_card,
    save_with_card,
    seen_by,
    spent_on,
)
from ignite_kd.errors import UserError


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"model": ["wrn_16_1"]}, "its model should be a text"),
        ({"num_classes": "ten"}, "its num_classes should be a number, not 'ten'"),
        ({"data": 1}, "its data should be an object"),
        ({"data": {"split": "x"}}, r"its data\.split should be an object"),
        ({"quirks": ["decay"]}, "its quirks should be an object"),
        ({"minutes": float("nan")}, "its minutes should be a number, not 'nan'"),
        ({"started_from": "net.th"}, "its started_from should be an object"),
        ({"started_from": {"card": {"minutes": "x"}}}, "in what it started from, its minutes should be a number"),
        (
            {"started_from": {"card": {"started_from": {"card": 5}}}},
            r"in what it started from, its started_from\.card should be an object",
        ),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(tmp_path, card, words):
    save_with_card(tmp_path / "w.th", b"weights", {})
    beside = card_path(tmp_path / "w.th")
    beside.write_text(json.dumps(json.loads(beside.read_text()) | card))  # as another program may have written it
    for read in (any_card, read_card):
        with pytest.raises(UserError, match=rf"w\.th\.json is damaged: {words}"):
            read(tmp_path / "w.th")


def test_a_card_is_strict_json_whatever_was_measured(tmp_path):
    save_with_card(tmp_path / "w.th", b"weights", {"results": {"test": {"last": {"loss": float("inf")}}}})
    assert any_card(tmp_path / "w.th")["results"] == {"test": {"last": {"loss": None}}}


def test_any_card_is_read_whosever_it_is(tmp_path):
    save_with_card(tmp_path / "w.th", b"weights", {"model": "a", "teacher": None, "results": None})
    (tmp_path / "w.th").write_bytes(b"others")
    assert any_card(tmp_path / "w.th")["model"] == "a"
    with pytest.warns(UserWarning, match="checksums differ"):
        assert read_card(tmp_path / "w.th") is None


def test_any_file_may_have_a_card(tmp_path):
    assert save_with_card(tmp_path / "w.pt2", b"one", {"a": 1}) is None
    assert save_with_card(tmp_path / "w.pt2", b"two", {"a": 2}) == tmp_path / "w.pt2.previous"
    assert json.loads(card_path(tmp_path / "w.pt2.previous").read_text())["a"] == 1
    assert (tmp_path / "w.pt2").read_bytes() == b"two" and read_card(tmp_path / "w.pt2")["a"] == 2


@pytest.mark.parametrize(
    ("card", "accuracy"),
    [
        ({"results": {"test": {"last": 0.5, "best": 0.6}}}, 0.5),
        ({"results": {"test": {"last": {"accuracy": 0.5}}}}, 0.5),
        ({"results": {"test": {"last": 0.5, "best": 0.6}}, "which": "best"}, 0.6),
        ({"results": {"test": {"best": 0.6}}}, None),
        ({"results": {"test": None}}, None),
        ({"results": {"test": {"last": float("nan")}}}, None),
        ({"results": None}, None),
        ({}, None),
    ],
)
def test_the_accuracy_that_a_card_claims(card, accuracy):
    assert accuracy_of(card, "test") == accuracy


@pytest.mark.parametrize(
    ("card", "epochs"),
    [
        ({"epochs": 200}, 200),
        ({"epochs": 200, "epoch": 180}, 180),
        ({"epochs": 200, "epoch": 200, "status": "finished"}, 200),
        ({"epochs": 200, "epoch": 0, "status": "stopped"}, 0),
        ({"epochs": 200, "epoch": None, "status": "stopped"}, None),
        ({}, None),
    ],
)
def test_epochs_are_those_that_were_trained(card, epochs):
    assert epochs_of(card) == epochs
    assert spent_on(card) == (epochs or 0, 0.0)


def test_what_weights_started_from_is_counted_and_has_seen_its_images_too():
    first = {"epochs": 5, "minutes": 1.5, "data": {"digest": "a"}, "started_from": None}
    second = {"epochs": 9, "epoch": 7, "data": {"digest": "b"}, "started_from": {"card": first}}
    third = {"epochs": 2, "minutes": 4, "started_from": {"card": second}}
    assert spent_on(third) == (14, 5.5)
    assert seen_by(third) == [{}, {"digest": "b"}, {"digest": "a"}]
    assert seen_by(second | {"started_from": {"card": None}}) == [{"digest": "b"}, {}]  # it has none: nobody knows
    assert seen_by(None) == [{}]


def test_a_card_is_written_over_cards_alone(tmp_path):
    file = tmp_path / "net"
    check_place(file)
    save_with_card(file, b"weights", {})
    check_place(file)
    card_path(file).write_text("{")  # of a crash
    check_place(file)
    for mine in ('{"layers": 3}', "[1]"):
        card_path(file).write_text(mine)
        with pytest.raises(UserError, match=r"the card of .*net would be written over .*net\.json, which is none"):
            check_place(file)
    with pytest.raises(UserError, match=r"run\.json, which is none"):  # the record of a run that is to come
        check_place(tmp_path / "run")
