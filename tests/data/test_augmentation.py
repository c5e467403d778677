from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from torchvision import datasets, transforms
from torchvision.transforms import functional as tv

from ignite_kd.data.augmentation import Augmentation, normalise
from ignite_kd.errors import UserError

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_torchvision(image: torch.Tensor, padding: int, mode: str, dy: int, dx: int, flip: bool) -> torch.Tensor:
    """Pad, flip, crop of one PIL image, as the transforms of the released code do it."""
    height, width = image.shape[1:]
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    picture = tv.pad(picture, padding, padding_mode={"reflect": "reflect", "zeros": "constant"}[mode])
    picture = tv.hflip(picture) if flip else picture
    return torch.from_numpy(np.array(tv.crop(picture, dy, dx, height, width))).permute(2, 0, 1)


def assert_like_torchvision(images: torch.Tensor, augmentation: Augmentation) -> None:
    dy, dx, flip = augmentation.offsets(0, 1, torch.arange(len(images)))
    crops = augmentation.apply(images, dy, dx, flip)
    assert crops.dtype == torch.uint8
    for image, crop, *place in zip(images, crops, dy.tolist(), dx.tolist(), flip.tolist(), strict=True):
        assert torch.equal(crop, by_torchvision(image, augmentation.padding, augmentation.mode, *place))


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
@pytest.mark.parametrize("padding", [0, 1, 4, 7])
@pytest.mark.parametrize("size", [(32, 32), (8, 20), (31, 9)])
def test_crops_are_torchvisions_image_by_image(mode, padding, size):
    assert_like_torchvision(noise(40, 3, *size), Augmentation(padding, mode))


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
def test_crops_of_real_images_are_torchvisions(mode):
    if not (root := os.environ.get("IGNITE_KD_CIFAR")):
        pytest.skip("IGNITE_KD_CIFAR does not name a directory with CIFAR-10 in it")
    data = datasets.CIFAR10(root, download=False).data[:1000]
    assert_like_torchvision(torch.from_numpy(data).permute(0, 3, 1, 2).contiguous(), Augmentation(4, mode))


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
def test_every_offset_is_torchvisions(mode):
    images = noise(1, 3, 6, 5).expand(2 * 81, 3, 6, 5)
    dy, dx, flip = (k.flatten() for k in torch.meshgrid(*map(torch.arange, (9, 9, 2)), indexing="ij"))
    crops = Augmentation(4, mode).apply(images, dy, dx, flip == 1)
    for i, crop in enumerate(crops):
        assert torch.equal(crop, by_torchvision(images[0], 4, mode, int(dy[i]), int(dx[i]), bool(flip[i])))


def test_normalised_images_have_the_bits_of_totensor_and_normalize():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    reference = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    expected = torch.stack([reference(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])
    assert torch.equal(normalise(images, MEAN, STD), expected)
    assert torch.equal(normalise(images, MEAN, STD, torch.bfloat16), expected.bfloat16())


def test_zero_padding_is_black_before_normalisation():
    crop = Augmentation(4, "zeros").apply(noise(1, 3, 8, 8), *map(torch.tensor, ([0], [0], [False])))
    corner = normalise(crop, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))[0, :, 0, 0]
    assert corner.tolist() == pytest.approx([-1.8957, -1.8975, -1.5965], abs=1e-4)


def test_offsets_are_uniform_and_independent():
    dy, dx, flip = Augmentation().offsets(0, 0, torch.arange(81_000))
    cells = (dy * 9 + dx) * 2 + flip
    counts = torch.bincount(cells, minlength=162)
    assert len(counts) == 162 and chisquare(counts.numpy()).pvalue > 1e-4


def test_offsets_depend_on_seed_epoch_and_index_alone():
    augmentation, indices = Augmentation(), torch.arange(1000)
    whole = torch.stack(augmentation.offsets(3, 4, indices))
    turned = torch.stack(augmentation.offsets(3, 4, indices.flip(0)))
    assert torch.equal(whole, turned.flip(1))
    for seed, epoch in [(3, 5), (4, 4)]:
        same = (torch.stack(augmentation.offsets(seed, epoch, indices)) == whole).double().mean(1)
        assert same.tolist() == pytest.approx([1 / 9, 1 / 9, 1 / 2], abs=0.07)


def test_without_padding_or_flip_nothing_is_done():
    augmentation, images = Augmentation(padding=0, flip=False), noise(50, 3, 8, 8)
    assert torch.equal(augmentation.apply(images, *augmentation.offsets(0, 0, torch.arange(50))), images)


def test_what_is_impossible_is_refused():
    with pytest.raises(UserError, match="did you mean 'reflect'"):
        Augmentation(mode="reflection")
    with pytest.raises(UserError, match="0 or more"):
        Augmentation(padding=-1)
    with pytest.raises(UserError, match="larger than 4×8"):
        Augmentation(4, "reflect").apply(noise(1, 3, 4, 8), *map(torch.tensor, ([0], [0], [False])))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("mode", ["reflect", "zeros"])
def test_the_bits_are_the_same_on_a_gpu(mode):
    augmentation, images = Augmentation(4, mode), noise(64, 3, 32, 32)
    batches = []
    for device in ("cpu", "cuda"):
        offsets = augmentation.offsets(0, 1, torch.arange(64, device=device))
        batches.append(normalise(augmentation.apply(images.to(device), *offsets), MEAN, STD).cpu())
    assert torch.equal(*batches)
