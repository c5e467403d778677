import torch

from ignite_kd import recipes
from ignite_kd.plan import Plan
from ignite_kd.terms import Term
from ignite_kd.verify import _same, verify_resume


def test_memory_banks_and_a_frozen_paraphraser_come_back_after_sigkill_to_the_bit(tmp_path):
    plan = Plan(
        student="resnet8",
        teacher="resnet8",
        recipe=recipes.get("crd,batch_size=16,first_stage_epochs=1,test_at_end=false"),
        dataset="shapes",
        samples_per_class=5,
        max_epochs=2,
        terms=(Term("ce"), Term("crd", 0.8, {"negatives": 30}), Term("ft", 200), Term("itrd", 1)),
        resume="auto",
        device="cpu",
    )
    report = verify_resume(plan, kills=1, seed=3, workplace=tmp_path)
    assert report["killed_at"] and {"head.crd", "head.ft", "head.itrd", "model", "metrics"} <= report["equal"].keys()
    assert all(report["equal"].values()), report


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
