from ignite_kd.markdown import table


def test_words_stand_left_and_numbers_right_and_bars_are_escaped():
    assert table(["run", "n"], [["a|b", "10"], ["c", "7"]], words=(0,)) == [
        "| run  |  n |",
        "|------|---:|",
        "| a\\|b | 10 |",
        "| c    |  7 |",
    ]
