"""Cells of an image: pixel p of a side belongs to cell floor(p · grid / side)."""

from __future__ import annotations

import torch
from torch import Tensor

from ignite_kd.errors import UserError

__all__ = ["cell_means", "cell_of", "cell_sums", "spread"]


def cell_of(side: int, grid: int, device: torch.device | None = None) -> Tensor:
    """The cell of each pixel along a side."""
    if grid > side:
        raise UserError(f"a grid of {grid} cells is finer than images of {side} pixels; take a grid of {side} or less.")
    return torch.arange(side, device=device) * grid // side


def spread(cells: Tensor, height: int, width: int) -> Tensor:
    """… × S × S values of cells at each of their pixels, … × height × width."""
    rows, columns = (cell_of(side, cells.shape[-1], cells.device) for side in (height, width))
    return cells.index_select(-2, rows).index_select(-1, columns)


def cell_sums(pixels: Tensor, grid: int) -> Tensor:
    """… × H × W values of pixels, summed in each cell: … × S × S."""
    down, across = (_membership(side, grid, pixels) for side in pixels.shape[-2:])
    return down @ pixels @ across.T


def cell_means(pixels: Tensor, grid: int) -> Tensor:
    """… × H × W values of pixels, averaged in each cell: … × S × S."""
    return cell_sums(pixels, grid) / cell_sums(torch.ones_like(pixels), grid)


def _membership(side: int, grid: int, like: Tensor) -> Tensor:
    cells = torch.arange(grid, device=like.device)
    return (cells[:, None] == cell_of(side, grid, like.device)).to(like.dtype)
