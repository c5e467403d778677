import torch
from oracles import fill, h

from ignite_kd.models import ShuffleV2


@torch.no_grad()
def test_features_are_the_rectified_halves_shuffled():
    model = fill(ShuffleV2(5), 7).eval()
    seen = model.represent(h((2, 3, 32, 32), 5))
    for stage, before in seen.before_relu.items():
        kept, worked = before.chunk(2, dim=1)
        dealt = torch.stack([kept, worked.clamp(min=0)], dim=2).flatten(1, 2)  # one of each in turn
        torch.testing.assert_close(seen.features[stage], dealt)
        assert (worked < 0).any()
    torch.testing.assert_close(seen.logits, seen.pooled @ model.linear.weight.T + model.linear.bias)
    assert model.norms == {}  # none has all channels


@torch.no_grad()
def test_a_unit_leaves_the_first_half_alone():
    unit = fill(ShuffleV2(5), 7).eval().layer1[1]
    maps = h((2, 116, 8, 8), 5)
    kept, before = unit(maps)
    assert torch.equal(kept, maps[:, :58]) and before.shape == kept.shape
    maps[:, :58] = 0
    assert torch.equal(unit(maps)[1], before)
