import torch
import torchvision
from torch import nn

from ignite_kd.models.from_torchvision import stages_of
from ignite_kd.models.graph import children_until, norm_of, output_of, record_shapes


class Sums(nn.Module):
    """A sum whose second term is the branch, one whose norm has too few channels, one behind a learned function."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.short = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.ones(1))
        self.late = nn.Conv2d(8, 2, 1)

    def forward(self, images):
        maps = self.conv(images)
        total = self.short(maps) + self.norm(maps * 2)
        twice = torch.cat([total, total], dim=1)
        return self.late(twice * self.scale)


def test_the_norm_is_found_in_the_longer_branch_and_not_behind_anything_learned():
    model = Sums().to("meta")
    graph, names, values = record_shapes(model, 8)
    nodes = {name: node for node, name in names.items()}
    assert values[nodes["cat"]].shape == (2, 8, 8, 8)
    assert norm_of(model, graph, nodes["add"], 4) == "norm"
    assert norm_of(model, graph, nodes["short"], 4) == "short"
    assert norm_of(model, graph, nodes["cat"], 8) is None
    assert norm_of(model, graph, nodes["mul"], 4) is None
    assert norm_of(model, graph, nodes["mul_1"], 4) is None
    assert norm_of(model, graph, nodes["late"], 2) is None
    assert output_of(graph).all_input_nodes == [nodes["late"]]


def test_children_are_those_that_run_until_the_last_stage():
    model = Sums().to("meta")
    graph, names, _ = record_shapes(model, 8)
    nodes = {name: node for node, name in names.items()}
    assert children_until(model, graph, []) == ()
    assert children_until(model, graph, [nodes["conv"]]) == ("conv",)
    assert children_until(model, graph, [nodes["add"], nodes["conv"]]) == ("conv", "norm", "short")


def test_windows_of_attention_and_channels_that_come_last_are_no_maps():
    swin = torchvision.models.SwinTransformer([4, 4], 24, [1, 1], [1, 2], [7, 7]).to("meta")
    _, _, values = record_shapes(swin, 224)
    sizes = {tuple(v.shape) for v in values.values() if isinstance(v, torch.Tensor)}
    assert (2, 56, 56, 24) in sizes and (2, 28, 28, 48) in sizes
    assert list(stages_of(swin)) == ["stem", "layer1"]  # the patches' embedding, and the last map, turned round
