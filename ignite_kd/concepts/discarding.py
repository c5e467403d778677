"""Information discarding as published: noise of growing entropy, sampled, that leaves a feature almost as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.grid import cell_sums, spread
from ignite_kd.concepts.trajectory import EntropyMaps, descend
from ignite_kd.data.randomness import number
from ignite_kd.errors import UserError

__all__ = ["Noise", "normal_noise", "sampled_maps"]

# (an image's seed, draw, like: B × C × H × W) → noise of that shape; draw 0 is for the scale, step e takes draw e + 1
Noise = Callable[[int, int, Tensor], Tensor]


def normal_noise(seed: int = 0) -> Noise:
    """Normal noise of each image by itself, drawn from (seed, image's seed, draw) alone.

    So batches, the order of images, checkpoints and restarts do not change a result, and all checkpoints and networks
    meet the same noise, which differences between them then do not contain. Drawn in float32 for any precision. A GPU
    draws other numbers than a CPU.
    """

    def draw(image: int, step: int, like: Tensor) -> Tensor:
        generator = torch.Generator(like.device).manual_seed(number(seed, image, step))
        return torch.randn(like.shape, generator=generator, device=like.device).to(like.dtype)

    return draw


def sampled_maps(
    feature: Callable[[Tensor], Tensor],
    images: Tensor,
    constants: Constants,
    seeds: Sequence[int] | None = None,
    noise: Noise | None = None,
    early_stop: bool = True,
    at_once: int = 4,
) -> EntropyMaps:
    """The published trajectory: at each step `constants.samples` noisy copies of each image.

    Cheng, Rao, Chen, Zhang: "Explaining Knowledge Distillation by Quantifying the Knowledge", CVPR 2020,
    arXiv:2003.03622, as its code does it. An image costs samples · (2 + 2 · its step) passes and no weight gradient.
    Float32 or better: the disturbance is a difference of almost equal features.

    Args:
        feature: images → features, the first dimension being the image; taken as it is, rectified or not.
        images: N × C × H × W, as the network wants them.
        seeds: of each image's noise, the same for all networks and checkpoints; 0, 1, … by default.
        at_once: images a pass.
    """
    noise = noise or normal_noise()
    numbers = list(range(len(images)) if seeds is None else seeds)
    parts = [
        _maps(feature, images[i : i + at_once], constants, numbers[i : i + at_once], noise, early_stop)
        for i in range(0, len(images), at_once)
    ]
    return EntropyMaps.joined(parts)


def _maps(
    feature: Callable[[Tensor], Tensor],
    images: Tensor,
    constants: Constants,
    seeds: Sequence[int],
    noise: Noise,
    early_stop: bool,
) -> EntropyMaps:
    grid, side = constants.grid, images.shape[-2:]
    copies = images[:, None].expand(-1, constants.samples, *images.shape[1:])

    def disturbed(sigma: Tensor, which: Tensor, draw: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mean square of what the noise does to the features of each image; the noisy images; the noise."""
        drawn = torch.stack([noise(seeds[i], draw, copies[i]) for i in which.tolist()])
        noisy = copies[which] + spread(sigma, *side)[:, None, None] * drawn
        noisy.requires_grad_(torch.is_grad_enabled())
        features = feature(noisy.flatten(0, 1)).flatten(1).unflatten(0, noisy.shape[:2])
        return (features - clean[which, None]).square().mean((1, 2)), noisy, drawn

    def pull(sigma: Tensor, which: Tensor, step: int) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            squares, noisy, drawn = disturbed(sigma, which, step + 1)
            losses = squares / scale[which]
            # a sum over images of what each would have alone: their gradients do not mix
            (gradient,) = torch.autograd.grad(losses.sum(), noisy)
        return losses.detach(), cell_sums((gradient * drawn).sum((1, 2)), grid)

    with torch.no_grad():
        clean = feature(images).flatten(1)
        everyone = torch.arange(len(images), device=images.device)
        start = torch.full((len(images), grid, grid), constants.first_sigma, dtype=images.dtype, device=images.device)
        scale = disturbed(start, everyone, 0)[0]
        if not scale.isfinite().all():
            raise UserError("the features are not finite numbers; take weights of a training that did not diverge.")
        return descend(pull, scale == 0, constants, images.dtype, early_stop)
