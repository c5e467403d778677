"""The data set that needs no download: ten forms, drawn at random places on random ground, with exact masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from ignite_kd.data.dataset import Dataset, Images
from ignite_kd.data.randomness import uniform

__all__ = ["draw", "shapes"]

SIZE, TRAIN, TEST = 32, 10_000, 2_000
NORMALISATION = (0.5, 0.5, 0.5), (0.277, 0.277, 0.277)
# What makes it easy or hard; chosen so that a small network learns it from 4000 images in half a minute on a CPU.
RADIUS = (0.6, 0.85)  # of the disk a form lies in; 1 is half an image
TURN = 0.5  # of a form to either side, in radians, at most
CONTRAST = (0.2, 0.5)  # of a form to its ground, in each channel
SWING = 0.12  # of a texture around its colour, at most
GRAIN = 0.06  # of each pixel, at most


def _half_planes(u: Tensor, v: Tensor, sides: int, distance: float) -> Tensor:
    """In how many of the half-planes that bound a regular polygon a point lies."""
    angles = (2 * math.pi * side / sides for side in range(sides))
    inside = [u * math.cos(angle) + v * math.sin(angle) < distance for angle in angles]
    return torch.stack(inside).sum(0)


# Each form inside the unit disk, as an inequality. All are their own mirror image, so that a flip keeps the class.
FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disk": lambda u, v: u * u + v * v < 0.8**2,
    "square": lambda u, v: torch.maximum(u.abs(), v.abs()) < 0.7,
    "triangle": lambda u, v: _half_planes(u, v, sides=3, distance=0.5) == 3,
    "star": lambda u, v: _half_planes(u, v, sides=5, distance=math.cos(math.radians(72))) >= 4,
    "ring": lambda u, v: (u * u + v * v < 0.9**2) & (u * u + v * v > 0.5**2),
    "cross": lambda u, v: (torch.maximum(u.abs(), v.abs()) < 0.9) & (torch.minimum(u.abs(), v.abs()) < 0.27),
    "crescent": lambda u, v: (u * u + v * v < 0.9**2) & ((u - 0.45) ** 2 + v * v > 0.65**2),
    "bar": lambda u, v: (u.abs() < 0.95) & (v.abs() < 0.27),
    "corner": lambda u, v: (torch.maximum(u.abs(), v.abs()) < 0.7) & (torch.minimum(u, v) < -0.2),
    "bow": lambda u, v: (u.abs() < 0.75) & (v.abs() < 0.8 * u.abs()),
}


def _stripes(x: Tensor, y: Tensor, p: Tensor, grid: Tensor) -> Tensor:
    return torch.sin((6 + 10 * p[2]) * (x * torch.cos(6.3 * p[0]) + y * torch.sin(6.3 * p[0])) + 6.3 * p[1])


def _checks(x: Tensor, y: Tensor, p: Tensor, grid: Tensor) -> Tensor:
    return (_stripes(x, y, p, grid) * _stripes(-y, x, p, grid)).sign()


def _gradient(x: Tensor, y: Tensor, p: Tensor, grid: Tensor) -> Tensor:
    return x * torch.cos(6.3 * p[0]) + y * torch.sin(6.3 * p[0])


def _blobs(x: Tensor, y: Tensor, p: Tensor, grid: Tensor) -> Tensor:
    places = torch.linspace(-1, 1, grid.shape[-1], dtype=torch.float64)
    weights = (1 - (x.flatten()[:, None] - places).abs() / (places[1] - places[0])).clamp(min=0)
    return weights @ (2 * grid - 1) @ weights.T


TEXTURES = (_stripes, _checks, _gradient, _blobs)


def _texture(seed: int, numbers: Tensor, layer: int, x: Tensor, y: Tensor) -> Tensor:
    """Each image's texture of this layer, in [-1, 1]."""
    p = uniform(seed, numbers, torch.arange(4).view(4, 1), layer).view(4, -1, 1, 1)
    grid = uniform(seed, numbers.view(-1, 1, 1), torch.arange(4, 40).view(6, 6), layer)
    kinds = (len(TEXTURES) * p[3]).long().flatten()
    texture = torch.empty(len(numbers), SIZE, SIZE, dtype=torch.float64)
    for kind, paint in enumerate(TEXTURES):
        chosen = kinds == kind
        texture[chosen] = paint(x, y, p[:, chosen], grid[chosen])
    return texture


def draw(numbers: Tensor, form: str | None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(images, masks) of the given numbers, each showing `form`; None draws the same ground with nothing on it."""
    line = (torch.arange(SIZE, dtype=torch.float64) + 0.5) / (SIZE / 2) - 1
    x, y = line.view(1, -1), line.view(-1, 1)
    p = uniform(seed, numbers, torch.arange(4).view(4, 1), 0).view(4, -1, 1, 1)
    radius, angle = RADIUS[0] + (RADIUS[1] - RADIUS[0]) * p[0], TURN * (2 * p[1] - 1)
    left, down = x - (2 * p[2] - 1) * (1 - radius), y - (2 * p[3] - 1) * (1 - radius)
    cos, sin = torch.cos(angle) / radius, torch.sin(angle) / radius
    if form is None:
        mask = torch.zeros(len(numbers), SIZE, SIZE, dtype=torch.bool)
    else:
        mask = FORMS[form](left * cos + down * sin, down * cos - left * sin)

    # In every channel the form differs from its ground by a part of its own; all are lighter, or all are darker.
    side = (uniform(seed, numbers, 3, 1) < 0.5).double()
    ground = 0.5 * uniform(seed, numbers, torch.arange(3).view(3, 1), 1) + 0.5 * side
    contrast = CONTRAST[0] + (CONTRAST[1] - CONTRAST[0]) * uniform(seed, numbers, torch.arange(3).view(3, 1), 2)
    figure = ground + (1 - 2 * side) * contrast
    swing = SWING * (2 * uniform(seed, numbers, torch.arange(6).view(6, 1), 3) - 1)
    textures = torch.where(mask, _texture(seed, numbers, 4, x, y), _texture(seed, numbers, 5, x, y))
    grain = GRAIN * (2 * uniform(seed, numbers.view(-1, 1, 1), torch.arange(SIZE**2).view(SIZE, SIZE)) - 1)
    channels = []
    for channel in range(3):
        a, b, s, t = (k.view(-1, 1, 1) for k in (figure[channel], ground[channel], swing[channel], swing[channel + 3]))
        channels.append(torch.where(mask, a, b) + torch.where(mask, s, t) * textures + grain)
    return torch.stack(channels, dim=1).clamp_(0, 1).mul_(255).round_().to(torch.uint8), mask


def _images(first: int, count: int, seed: int) -> Images:
    numbers = torch.arange(first, first + count)
    labels = numbers % len(FORMS)
    images = torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8)
    masks = torch.empty(count, SIZE, SIZE, dtype=torch.bool)
    for label, form in enumerate(FORMS):
        for chosen in torch.nonzero(labels == label).flatten().split(250):  # that many stay in the cache
            images[chosen], masks[chosen] = draw(numbers[chosen], form, seed)
    return Images(images, labels, masks)


@lru_cache(maxsize=2)
def shapes(seed: int = 0) -> Dataset:
    """10 000 + 2 000 images, 32×32, of ten forms of random place, size, angle, colour and texture on random ground.

    Colours and textures of form and ground tell nothing about the class. The masks are exact.
    """
    train, test = _images(0, TRAIN, seed), _images(TRAIN, TEST, seed)
    return Dataset("shapes", train, test, tuple(FORMS), *NORMALISATION)
