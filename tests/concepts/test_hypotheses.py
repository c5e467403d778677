import pytest
from explained import explained, explanation

from ignite_kd.concepts.explanation import Number
from ignite_kd.concepts.hypotheses import (
    CONTRARY,
    HOLDS,
    HYPOTHESES,
    UNKNOWN,
    UNTOLD,
    Claim,
    judged,
    sentences,
    taught,
    turning,
    verdict,
)

MORE, LESS = Claim("N_fg", True, ""), Claim("D_std", False, "")


def test_the_published_claims_are_these():
    """Abstract and introduction: more on the object, less on the ground, faster, more at once, fewer detours."""
    claims = {claim.number: claim.larger for claims in HYPOTHESES.values() for claim in claims}
    assert claims == {"N_fg": True, "N_bg": False, "ratio": True, "D_mean": False, "D_std": False, "rho": True}


@pytest.mark.parametrize(
    ("found", "more", "less"),
    [
        ((0.5, 0.1, 0.9), HOLDS, CONTRARY),
        ((-0.5, -0.9, -0.1), CONTRARY, HOLDS),
        ((0.5, -0.1, 1.1), UNTOLD, UNTOLD),
        ((0.5, 0.0, 1.0), UNTOLD, UNTOLD),
        (None, UNKNOWN, UNKNOWN),
    ],
)
def test_an_interval_decides(found, more, less):
    assert verdict(MORE, found) == more
    assert verdict(LESS, found) == less


def said(found, **changes):
    differences = {} if found is None else {"kd: N_fg": found}
    (sentence,) = sentences(explanation(explained(), explained("kd", **changes), differences=differences), MORE)
    return sentence


def test_a_sentence_has_the_numbers():
    assert said((0.5, 0.1, 0.9)) == (
        "kd", "holds", "N_fg is 2.00 against 2.00 of alone, a difference of +0.50 (+0.10 to +0.90).",
    )  # fmt: skip
    assert said((-0.5, -0.9, -0.1))[1] == "does not hold"
    assert said((-0.5, -0.9, -0.1))[2].endswith("−0.50 (−0.90 to −0.10), on the other side of 0.")
    assert said((0.5, -0.1, 1.1))[1] == "cannot be told"
    assert said((0.5, -0.1, 1.1))[2].endswith("+0.50 (−0.10 to +1.10), which contains 0.")


def test_what_was_not_measured_is_said():
    assert said(None) == (
        "kd", "was not measured", "N_fg is 2.00 against 2.00 of alone; no interval of the difference is known.",
    )  # fmt: skip
    assert said(None, masks=False)[2] == "N_fg of kd is not known."


def test_seeds_are_judged_by_their_mean():
    groups = {"alone": ["alone 0", "alone 1"], "kd": ["kd 0", "kd 1"]}
    networks = [explained(name) for members in groups.values() for name in members]
    whole = explanation(*networks, groups=groups, differences={"kd: N_fg": (0.5, 0.1, 0.9)})
    (sentence,) = sentences(whole, MORE)
    assert sentence[:2] == ("kd (mean of 2 seeds)", "holds")
    assert "of alone (mean of 2 seeds)" in sentence[2]


def loss(words):
    return {"about": {"loss": words}}


def test_who_had_a_teacher_is_known_by_the_loss():
    for words in ("1 ce + 0.3 kd", "3 vid", "1 ce + 0.3 kd {'temperature': 4}"):  # of a record, of a card
        assert taught(explained(**loss(words)))
    for words in ("1 ce", "ce", None, ""):
        assert not taught(explained(**loss(words)))


def test_those_without_a_teacher_are_not_judged():
    networks = explained(), explained("kd", **loss("1 ce + 0.3 kd")), explained("teacher", **loss("1 ce"))
    assert [name for name, *_ in sentences(explanation(*networks), MORE)] == ["kd"]
    # the first one alone: nobody else is a student
    turned = explained("kd", **loss("1 ce + 0.3 kd")), explained("alone", **loss("1 ce"))
    assert judged(explanation(*turned)) == []


def test_a_difference_that_turns_with_the_margin_is_named():
    def numbers(ratio):
        return {"ratio": Number(ratio, None), "N_fg": Number(2.0, None)}

    networks = [explained(name, numbers=numbers(ratio)) for name, ratio in (("alone", 0.5), ("kd", 0.4), ("vid", 0.3))]
    sweep = {0.05: {"alone": numbers(0.5), "kd": numbers(0.52), "vid": numbers(0.2)}}
    assert list(turning(explanation(*networks, sweep=sweep))) == [("ratio of kd", "+0.020 at 0.05, −0.100 at 0.2")]
    # rounded to what is shown, or noise would turn it
    sweep[0.05]["kd"] = numbers(0.5 + 1e-9)
    assert not list(turning(explanation(*networks, sweep=sweep)))


def test_every_network_but_the_first_is_judged_where_nobody_is_known_to_have_had_a_teacher():
    whole = explanation(explained(), explained("kd"), explained("vid"))
    assert [name for name, *_ in sentences(whole, MORE)] == ["kd", "vid"]
