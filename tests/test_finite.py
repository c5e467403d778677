import json
import math

from ignite_kd.finite import finite


def test_what_is_no_number_is_none_wherever_it_stands():
    told = {"a": [1.5, math.nan], "b": {"c": (-math.inf, "x", None, 3)}, "d": True}
    assert finite(told) == {"a": [1.5, None], "b": {"c": [None, "x", None, 3]}, "d": True}
    json.dumps(finite(told), allow_nan=False)
