from ignite_kd.markdown import table


def test_columns_are_as_wide_as_their_widest_cell():
    assert table(["run", "n"], [["a", "12.5"], ["longer", "3"]], words=(0,)) == [
        "| run    |    n |",
        "|--------|-----:|",
        "| a      | 12.5 |",
        "| longer |    3 |",
    ]


def test_a_bar_in_a_name_breaks_no_table():
    assert table(["run"], [["a|b"]], words=(0,))[2] == "| a\\|b |"
