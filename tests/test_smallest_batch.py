import pytest
from torch import nn

from ignite_kd.smallest_batch import normalises_single_numbers


@pytest.mark.parametrize(("edge", "single"), [(16, False), (8, True)])
def test_a_batch_norm_after_the_last_pixel_is_found(edge, single):
    """Three strides leave two pixels of sixteen and one of eight, which one image alone cannot be normalised by."""
    strided = [nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.BatchNorm2d(3)) for _ in range(3)]
    model = nn.Sequential(*strided)
    assert normalises_single_numbers(model, edge) is single
    assert model.training and int(model[0][1].num_batches_tracked) == 0
