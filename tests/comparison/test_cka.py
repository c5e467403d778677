import itertools

import numpy as np
import pytest
import torch

from ignite_kd.comparison.cka import LinearCKA, centred_gram


def hsic(k, l):  # noqa: E741 (the paper's names)
    """Song et al., equation 4: the mean of k_ij (l_ij + l_qr - 2 l_iq) over all four different images."""
    tuples = list(itertools.permutations(range(len(k)), 4))
    return sum(k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in tuples) / len(tuples)


def features(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(n, 3, 2, 2, dtype=torch.float64, generator=generator) + 5
    return {"a": one, "b": one[:, 0, 0].tanh()}, {"c": one.flatten(1)[:, :5] ** 2, "d": one.flip(2) - one}


def measured(*pairs):
    found = LinearCKA()
    for one, other in pairs:
        found.add(*({stage: centred_gram(t) for stage, t in part.items()} for part in (one, other)))
    return found.matrix()


def grams(part):
    return [(x := t.flatten(1).numpy()) @ x.T for t in part.values()]


def test_of_one_batch_it_is_the_definition():
    one, other = features()
    expected = [
        [hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)) for m in grams(other)] for k in grams(one)
    ]  # not centred before: the statistic does it itself
    assert measured((one, other)).numpy() == pytest.approx(np.array(expected), rel=1e-9)


def test_of_several_batches_it_is_the_ratio_of_means_by_images():
    batches = [features(6, 1), features(5, 2), features(3, 3)]  # of three images there is no estimate
    cross = own = shown = 0
    for n, (one, other) in zip((6, 5), batches, strict=False):
        (k, _), (m, _) = grams(one), grams(other)
        cross, own, shown = cross + n * hsic(k, m), own + n * hsic(k, k), shown + n * hsic(m, m)
    assert measured(*batches)[0, 0].item() == pytest.approx(cross / np.sqrt(own * shown), rel=1e-9)


def test_turning_scaling_and_moving_features_changes_nothing():
    one, _ = features(40)
    x = one["a"].flatten(1)
    turn = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64)).Q
    turned = {"a": 7 * x @ turn + 100}
    assert measured((one, turned))[0].item() == pytest.approx(1, abs=1e-9)


def test_unrelated_wide_features_are_unlike_in_small_batches_too():
    """Where the estimate of the whole-batch form would be near 1, because there are more channels than images."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 200, 8, 500, generator=generator)
    pairs = [({"x": x}, {"y": y}) for x, y in zip(*noise, strict=True)]
    assert measured(*pairs).abs().item() < 0.05
    k, m = ((x - x.mean(0)) @ (x - x.mean(0)).T for x in noise[:, 0])
    assert ((k * m).sum() / (k.norm() * m.norm())).item() > 0.8


def test_features_that_are_all_alike_or_too_few_have_no_number():
    assert measured(({"x": torch.ones(6, 2)}, {"y": torch.randn(6, 2)})).isnan().all()
    assert measured(features(3)).isnan().all()
