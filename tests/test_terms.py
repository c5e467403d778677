import pytest

from ignite_kd.errors import UserError
from ignite_kd.terms import Term


def test_a_warm_up_is_read_beside_the_options():
    assert Term.read("reviewkd:5,warm_up=20") == Term("reviewkd", 5.0, {}, 20)


@pytest.mark.parametrize(
    ("word", "message"), [("dkd:1,warm_up=soon", "no number of epochs"), ("dkd:1,warm_up=-1", "-1")]
)
def test_a_warm_up_that_makes_no_sense_is_refused_in_one_line(word, message):
    with pytest.raises(UserError, match=message):
        Term.read(word)


def test_a_term_is_told_in_plain_words():
    assert str(Term.read("kd:0.3,temperature=4,warm_up=2")) == "0.3 kd (temperature 4)"
    assert str(Term("ce")) == "1 ce"
