import copy

import pytest
import torch
from oracles import fill, h

from ignite_kd.errors import UserError
from ignite_kd.models import MLP


def written_out(state, images, hidden, training):
    """Every hidden vector before and after its rectification, and the logits."""
    before, after = {}, {}
    units = images.reshape(len(images), -1)
    for stage in (f"hidden{i}" for i in range(1, hidden + 1)):
        units = units @ state[f"{stage}.0.weight"].T
        mean, variance = state[f"{stage}.1.running_mean"], state[f"{stage}.1.running_var"]
        if training:
            mean, variance = units.mean(dim=0), units.var(dim=0, unbiased=False)
        normed = (units - mean) / (variance + 1e-5).sqrt()
        before[stage] = normed * state[f"{stage}.1.weight"] + state[f"{stage}.1.bias"]
        after[stage] = units = before[stage].clamp(min=0)
    return before, after, units @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("hidden", [1, 3])
@torch.no_grad()
def test_the_network_is_its_formula(hidden, training):
    model = fill(MLP(width=6, hidden=hidden, num_classes=4, image_size=5), 7).train(training)
    state, images = copy.deepcopy(model.state_dict()), h((8, 3, 5, 5), 5)
    before, after, logits = written_out(state, images, hidden, training)
    seen = model.represent(images)
    torch.testing.assert_close(seen.logits, logits)
    torch.testing.assert_close(dict(seen.features), after)
    torch.testing.assert_close(dict(seen.before_relu), before)
    torch.testing.assert_close(seen.pooled, after[f"hidden{hidden}"])
    torch.testing.assert_close(model(images), logits)


@pytest.mark.parametrize(("width", "hidden", "classes", "size"), [(1024, 3, 10, 32), (8, 1, 3, 4)])
def test_numbers_of_parameters(width, hidden, classes, size):
    with torch.device("meta"):
        model = MLP(width, hidden, classes, size)
    first, others = 3 * size**2 * width, (hidden - 1) * width**2
    norms, classifier = hidden * 2 * width, width * classes + classes
    assert sum(p.numel() for p in model.parameters()) == first + others + norms + classifier


def test_what_it_says_of_itself():
    model = MLP(8, hidden=2, num_classes=7, image_size=4)
    assert (model.name, model.num_classes) == ("mlp_8", 7)
    assert list(model.channels.items()) == [("hidden1", 8), ("hidden2", 8), ("pooled", 8)]


@pytest.mark.parametrize("setting", ["width", "hidden", "num_classes"])
def test_nothing_can_have_the_size_zero(setting):
    with pytest.raises(UserError, match=f"a perceptron's {setting} is 1 or more, not 0"):
        MLP(**{setting: 0})


def test_images_of_another_size_are_refused_with_what_to_do():
    with pytest.raises(UserError, match="mlp_8 takes images of 3×4×4, not 3×6×6; build it with image_size=6"):
        MLP(8, image_size=4)(torch.zeros(2, 3, 6, 6))
    with pytest.raises(UserError, match="mlp_8 takes images of 3×4×4, not 1×4×4"):
        MLP(8, image_size=4)(torch.zeros(2, 1, 4, 4))
