import torch
import torch.nn.functional as F
from oracles import fill, h

from ignite_kd.models import ShuffleV1
from ignite_kd.models.network import shuffle


def test_a_shuffle_deals_the_channels_out():
    maps = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert shuffle(maps, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert shuffle(maps, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert shuffle(maps, 1).flatten().tolist() == [0, 1, 2, 3, 4, 5]


@torch.no_grad()
def test_a_stage_begins_with_its_branch_beside_the_average_of_its_input():
    model = fill(ShuffleV1(5), 7).eval()
    maps = h((2, 24, 32, 32), 5)
    first = model.layer1[0](maps)
    # zeros count in the averages at the border
    averages = F.pad(maps, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).mean((4, 5))
    torch.testing.assert_close(first[:, 216:], averages)
    assert [unit.conv1.out_channels for unit in model.layer1] == [54, 60, 60, 60]
    assert [layer[0].conv1.out_channels for layer in (model.layer2, model.layer3)] == [60, 120]
    assert [layer[0].conv1.groups for layer in (model.layer1, model.layer2, model.layer3)] == [1, 3, 3]
    seen = model.represent(h((2, 3, 32, 32), 5))
    for stage, before in seen.before_relu.items():
        torch.testing.assert_close(before.clamp(min=0), seen.features[stage])


def test_the_norms_are_the_last_ones_of_the_branches():
    model = ShuffleV1()
    assert model.norms == {stage: f"{stage}.{len(model.get_submodule(stage)) - 1}.bn3" for stage in model.norms}
    assert len(model.norms) == 3
