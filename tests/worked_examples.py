"""The worked examples of `concepts.md`, section 7: extractors, images and noise that anybody can write down."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

__all__ = [
    "conv_extractor",
    "conv_image",
    "linear_extractor",
    "linear_image",
    "noise",
    "worked_foreground",
    "worked_maps",
]


def noise(image, draw, like):
    samples, channels, height, width = (torch.arange(size, dtype=torch.float64) for size in like.shape)
    angle = (
        0.7 * draw
        + 1.3 * samples.view(-1, 1, 1, 1)
        + 0.4 * channels.view(-1, 1, 1)
        + 2.1 * height.view(-1, 1)
        + 3.7 * width
        + 0.5
    )
    return math.sqrt(2) * torch.sin(angle)


def linear_image():
    return ((torch.arange(16) % 5).double() / 4).view(1, 1, 4, 4)


def linear_extractor(images):
    """Three features of 4×4 pixels, of which the rectification leaves one."""
    k, p = torch.arange(3).view(3, 1), torch.arange(16)
    weights = ((k + 1) * (p + 1) % 7 - 3).double()
    return F.relu(images.flatten(1) @ weights.T)


def conv_image():
    c, i, j = (torch.arange(n) for n in (3, 7, 7))
    return ((((7 * i.view(-1, 1) + j) * (c.view(-1, 1, 1) + 2)) % 11).double() / 10)[None]


def conv_extractor(images):
    """2×4×4 features of 3×7×7 pixels."""
    first = _weights(4, 3, lambda o, c, u, v: torch.cos(1 + o + 2 * c + 3 * u + 5 * v))
    second = _weights(2, 4, lambda o, c, u, v: torch.sin(1 + 2 * o + c + 3 * u + 4 * v))
    hidden = F.relu(F.conv2d(images, first, stride=2, padding=1))
    return F.relu(F.conv2d(hidden, second, padding=1))


def _weights(outputs, inputs, wave):
    o, c, u, v = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (outputs, inputs, 3, 3)), indexing="ij")
    return wave(o, c, u, v) / 3


def worked_maps():
    """Section 7.4: three images, four checkpoints, a grid of four."""
    i, t, r, c = torch.meshgrid(torch.arange(3), torch.arange(4), torch.arange(4), torch.arange(4), indexing="ij")
    modulus = torch.tensor([2, 5, 8, 7])[t]
    return -2.7 - 0.11 * ((2 * i + 7 * t + 7 * r + 5 * c + r * c * (t + 1)) % modulus).double()


def worked_foreground():
    cells = torch.zeros(3, 4, 4, dtype=torch.bool)
    cells[0, 1:3, 1:3] = True
    cells[1, 0:2] = True
    cells[2, 3] = cells[2, :, 3] = True
    return cells
