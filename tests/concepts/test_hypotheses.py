import pytest
from explained import explained, explanation

from ignite_kd.concepts.hypotheses import CONTRARY, HOLDS, HYPOTHESES, UNKNOWN, UNTOLD, Claim, sentences, verdict

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


def test_every_network_but_the_first_is_judged():
    whole = explanation(explained(), explained("kd"), explained("vid"))
    assert [name for name, *_ in sentences(whole, MORE)] == ["kd", "vid"]
