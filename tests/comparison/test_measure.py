import numpy as np
import pytest
import torch
from torch import nn

from ignite_kd import models
from ignite_kd.comparison.cka import LinearCKA, centred_gram
from ignite_kd.comparison.measure import measure
from ignite_kd.representation import Features, Representation


class Plain(nn.Module):
    """Two stages of known numbers."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.one = nn.Parameter(torch.randn(12, 5, dtype=torch.float64, generator=generator))
        self.two = nn.Parameter(torch.randn(5, 3, dtype=torch.float64, generator=generator))

    def represent(self, images):
        hidden = (images.flatten(1) @ self.one).tanh()
        return Representation(hidden @ self.two, Features({"hidden": hidden}), pooled=hidden**2)


def loader(batches, scale=1.0):
    generator = torch.Generator().manual_seed(9)
    images = torch.randn(sum(batches), 3, 2, 2, dtype=torch.float64, generator=generator)
    labels = torch.arange(sum(batches)) % 3
    return [(scale * x, y) for x, y in zip(images.split(batches), labels.split(batches), strict=True)]


def test_one_pass_gives_what_each_network_says_of_its_own_images():
    one, other = Plain(0), Plain(1).train()
    loaders = {"a": loader([6, 5]), "b": loader([6, 5], scale=2.0)}
    found = measure({"one": (one, "a"), "other": (other, "b")}, [("one", "other")], loaders, torch.device("cpu"))
    assert found.labels.tolist() == [i % 3 for i in range(11)]
    for name, model, word in (("one", one, "a"), ("other", other, "b")):
        with torch.no_grad():
            expected = torch.cat([model.represent(images).logits for images, _ in loaders[word]])
        assert torch.equal(found.logits[name], expected) and not found.logits[name].requires_grad
    assert not other.training

    alignment = LinearCKA()
    for (x, _), (y, _) in zip(loaders["a"], loaders["b"], strict=True):
        stages = [
            {"hidden": seen.features["hidden"], "pooled": seen.pooled}
            for seen in (one.represent(x), other.represent(y))
        ]
        alignment.add(*({stage: centred_gram(t.detach()) for stage, t in part.items()} for part in stages))
    measured = found.alignments["one", "other"]
    assert (measured.stages, measured.other_stages) == (("hidden", "pooled"),) * 2
    assert measured.matrix().numpy() == pytest.approx(alignment.matrix().numpy(), rel=1e-9)


def test_each_network_looks_once_at_each_batch_however_many_pairs_it_is_in():
    calls = []
    model = Plain(0)
    model.represent = lambda images, see=model.represent: calls.append(len(images)) or see(images)
    networks = {"a": (model, "x"), "b": (Plain(1), "x")}
    found = measure(networks, [("a", "b"), ("b", "a"), ("a", "a")], {"x": loader([5, 4])}, torch.device("cpu"))
    assert calls == [5, 4]
    a_b, b_a = found.alignments["a", "b"].matrix(), found.alignments["b", "a"].matrix()
    assert np.allclose(a_b, b_a.T)
    assert found.alignments["a", "a"].matrix().diagonal().tolist() == pytest.approx([1, 1])


def test_a_network_that_gives_logits_alone_is_measured_without_stages():
    class Logits(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :3]

    found = measure({"a": (Logits(), "x"), "b": (Plain(1), "x")}, [("a", "b")], {"x": loader([5])}, torch.device("cpu"))
    assert found.logits["a"].shape == (5, 3)
    assert found.alignments["a", "b"].stages == ()


def test_networks_of_other_families_are_aligned_stage_by_stage():
    pair = {name: (models.build(name, 10), "x") for name in ("wrn_10_1", "vgg8")}
    batch = [(torch.randn(6, 3, 32, 32), torch.arange(6))]
    found = measure(pair, [("vgg8", "wrn_10_1")], {"x": batch}, torch.device("cpu")).alignments["vgg8", "wrn_10_1"]
    for model, stages in (("vgg8", found.stages), ("wrn_10_1", found.other_stages)):
        assert list(stages) == list(pair[model][0].channels)
    assert found.matrix().shape == (len(found.stages), len(found.other_stages))
