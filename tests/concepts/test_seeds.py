from ignite_kd.concepts.seeds import by_seed

PLAN = {"student": "wrn_10_1", "terms": [{"method": "kd"}], "seed": 0, "order_seed": None}


def test_plans_that_differ_by_the_seed_alone_are_one_method():
    names = ["x", "kd-seed0", "kd-seed1", "y"]
    plans = [PLAN | {"student": "mlp_8"}, PLAN, PLAN | {"seed": 1, "order_seed": 0}, PLAN | {"terms": []}]
    assert by_seed(names, plans) == {"x": ["x"], "kd": ["kd-seed0", "kd-seed1"], "y": ["y"]}


def test_names_tell_where_there_is_no_plan():
    names = ["a/kd_seed_1/last.th", "a/kd_seed_2/last.th", "b_trial_0.th", "c.th"]
    assert by_seed(names, [None] * 4) == {
        "a/kd/last.th": names[:2], "b_trial_0.th": ["b_trial_0.th"], "c.th": ["c.th"]
    }  # fmt: skip


def test_a_method_is_not_called_like_another_network():
    names = ["kd", "kd-seed0", "kd-seed1"]
    plans = [PLAN | {"terms": []}, PLAN, PLAN | {"seed": 1}]
    assert by_seed(names, plans) == {
        "kd": ["kd"], "kd-seed0 and its seeds": ["kd-seed0", "kd-seed1"]
    }  # fmt: skip


def test_numbers_at_the_end_are_seeds_where_the_plans_say_so():
    assert by_seed(["kd-0", "kd-1"], [PLAN, PLAN | {"seed": 1}]) == {"kd": ["kd-0", "kd-1"]}


def test_a_training_that_is_there_twice_is_no_second_seed():
    names = ["kd-seed0", "kd-seed1", "copy", "copy-of-copy"]
    found = by_seed(names, [PLAN, PLAN | {"seed": 1}, PLAN, PLAN])
    assert found == {"kd": names[:2], "copy": ["copy"], "copy-of-copy": ["copy-of-copy"]}
