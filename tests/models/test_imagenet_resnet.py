import pytest
import torch
import torchvision
from oracles import fill, h

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.models import ImageNetResNet


@pytest.mark.parametrize(("depth", "size", "training"), [(18, 64, False), (18, 45, True), (34, 97, False)])
@torch.no_grad()
def test_outputs_and_statistics_are_torchvisions(depth, size, training):
    theirs = fill(torchvision.models.get_model(f"resnet{depth}", num_classes=9), 7).train(training)
    ours = ImageNetResNet(depth, 9).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    images = h((4, 3, size, size), 5)
    seen, found = ours.train(training).represent(images), {}
    for stage in ("relu", "layer1", "layer2", "layer3", "layer4", "avgpool"):
        theirs.get_submodule(stage).register_forward_hook(lambda _, __, out, s=stage: found.update({s: out.clone()}))
    torch.testing.assert_close(seen.logits, theirs(images))
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        torch.testing.assert_close(seen.features[stage], found[stage])
        torch.testing.assert_close(seen.before_relu[stage].clamp(min=0), found[stage])
        assert (seen.before_relu[stage] < 0).any()
    torch.testing.assert_close(seen.features["stem"], found["relu"])
    torch.testing.assert_close(seen.pooled, found["avgpool"].flatten(1))
    for (key, one), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, msg=key)


def test_numbers_of_parameters_are_those_of_the_released_weights():
    with torch.device("meta"):
        counts = [models.parameters(models.build(f"ResNet{depth}", 1000)) for depth in (18, 34)]
    weights = (torchvision.models.ResNet18_Weights, torchvision.models.ResNet34_Weights)
    assert counts == [w.IMAGENET1K_V1.meta["num_params"] for w in weights]


def test_weights_begin_as_torchvisions():
    torch.manual_seed(3)
    ours = ImageNetResNet(18, 10).state_dict()
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(num_classes=10).state_dict()
    for key, tensor in theirs.items():
        if tensor.dim() == 4:
            assert ours[key].std().item() == pytest.approx(tensor.std().item(), rel=0.05), key
        elif "fc" not in key:
            assert torch.equal(ours[key], tensor), key


def test_another_depth_is_referred_to_torchvision():
    with pytest.raises(UserError, match="depth 18 or 34, not 50; take torchvision:resnet50"):
        ImageNetResNet(50)
