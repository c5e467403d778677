import math

import pytest
import torch

from ignite_kd.comparison.calibration import calibration


def written_out(probabilities, labels, bins):
    """Guo et al., equation 3, with a loop over the bins (m - 1) / M < confidence <= m / M."""
    error = 0.0
    for m in range(1, bins + 1):
        inside = [(max(p), p.index(max(p)) == y) for p, y in zip(probabilities, labels, strict=True)
                  if (m - 1) / bins < max(p) <= m / bins]  # fmt: skip
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            confidence = sum(c for c, _ in inside) / len(inside)
            error += len(inside) / len(labels) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize("bins", [15, 4])
def test_the_error_is_the_papers_sum(bins):
    torch.manual_seed(0)
    logits = 3 * torch.randn(200, 4, dtype=torch.float64)
    labels = torch.randint(0, 4, (200,))
    found = calibration(logits, labels, bins)
    probabilities = [[math.exp(z) / sum(map(math.exp, row)) for z in row] for row in logits.tolist()]
    assert found.error == pytest.approx(written_out(probabilities, labels.tolist(), bins), rel=1e-9)
    likelihood = [math.log(p[y]) for p, y in zip(probabilities, labels.tolist(), strict=True)]
    assert found.nll == pytest.approx(-sum(likelihood) / 200, rel=1e-9)
    assert sum(found.counts) == 200


def test_bins_hold_what_lies_in_them():
    probabilities = torch.tensor([[0.5, 0.5 - 1e-9], [0.9, 0.1], [0.8, 0.2], [1.0, 1e-300]], dtype=torch.float64)
    found = calibration(probabilities.log(), torch.tensor([0, 0, 1, 1]), bins=2)
    assert found.counts == [0, 4]  # the first is a hair above one half, the last is sure and stays within
    found = calibration(probabilities.log(), torch.tensor([0, 0, 1, 1]), bins=5)
    assert found.counts == [0, 0, 1, 1, 2]
    assert found.confidence[2:] == pytest.approx([0.5, 0.8, 0.95])
    assert found.accuracy[2:] == [1, 0, 0.5]
    assert all(map(math.isnan, found.accuracy[:2]))
