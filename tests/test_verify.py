import torch

from ignite_kd.verify import _same


def test_a_difference_in_one_bit_is_seen_wherever_it_is():
    state = {"a": torch.zeros(2), "b": [1, {"c": torch.ones(1)}], "d": "word"}
    assert _same(state, {"a": torch.zeros(2), "b": [1, {"c": torch.ones(1)}], "d": "word"})
    tiny = torch.nextafter(torch.ones(1), torch.tensor([2.0]))
    for change in (
        {"a": torch.tensor([0.0, 1e-45])},
        {"a": torch.zeros(2, dtype=torch.float64)},
        {"b": [1, {"c": tiny}]},
        {"b": [1]},
        {"d": "other"},
        {"e": 1},
    ):
        assert not _same(state, state | change)
