from explained import explained, explanation

from ignite_kd.concepts.table import markdown


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in text.splitlines() if line[:2] == "| "]


def test_the_worked_example_as_a_table():
    text = markdown(explanation(explained(), explained("kd"), differences={"kd: N_bg": (-1.0, -2.0, 0.5)}))
    head, alone, kd, other_head, apart = rows(text)
    assert head == other_head == ["network", "N_fg", "N_bg", "ratio", "D_mean", "D_std", "variance", "rho"]
    assert alone == [
        "alone",
        "2.00 ± 0.00",
        "2.00 ± 0.82",
        "0.522 ± 0.110",
        "0.507 ± 0.223",
        "0.223",
        "0.0495",
        "0.550 ± 0.324",
    ]
    assert kd == ["kd", *alone[1:]]
    assert apart == ["kd", "–", "−1.00 (−2.00 to +0.50)", "–", "–", "–", "–", "–"]


def test_one_network_has_no_differences():
    assert len(rows(markdown(explanation()))) == 2


def test_the_deviation_of_the_engine_is_told():
    linear = explanation(engine="linear", deviation="0.0100 nats a cell")
    assert "by the linear engine. Deviation of its maps from sampled ones: 0.0100 nats a cell" in markdown(linear)
    assert all(cell.startswith("≈") for cell in rows(markdown(linear))[1][1:])
    assert "≈" not in markdown(explanation())
