"""Remove an image's brightness and brightness gradient, so that a drifting process is no novelty."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: The plane is fitted to the means of at most this many cells along a side.
_CELLS = 32
_ITERATIONS = 4
#: Cells this many typical deviations away count half.
_TOLERANCE = 1.5


def evened(images: Tensor, mean: Tensor) -> Tensor:
    """Subtract the fitted plane of each (B, C, H, W) image, and add the (C,) `mean`.

    Level and gradient tell how the image was lit and where the process stands, hardly ever what is
    to be labelled. What covers less than about half of an image still stands out; a change of the
    brightness of the whole image disappears. The result may leave [0, 1].
    """
    return images - fitted_plane(images) + mean[:, None, None]


def fitted_plane(images: Tensor) -> Tensor:
    """The plane over rows and columns that fits most of each image and channel, (B, C, H, W)."""
    down, across = (positions(side).to(images) for side in images.shape[2:])
    return plane_at(fit_plane(images), down, across)


def plane_at(plane: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """A (B, C, 3) plane at (h,) and (w,) `positions`: (B, C, h, w) of their type."""
    level, slope_down, slope_across = plane.to(down)[..., None, None].unbind(dim=2)
    return level + slope_down * down[:, None] + slope_across * across


def positions(count: int) -> Tensor:
    """Centres of `count` pixels that divide [-1, 1], float32."""
    return (torch.arange(count, dtype=torch.float32) + 0.5) * (2 / count) - 1


def shares(images: Tensor) -> Tensor:
    """Integers as shares of their type's largest value, float32 in [0, 1]; floats as they are."""
    if images.is_floating_point():
        return images.float()
    return images.float() / torch.iinfo(images.dtype).max


def fit_plane(images: Tensor) -> Tensor:
    """Level and slopes of the plane that fits most of each image and channel, (B, C, 3) float64.

    Least squares over cell means, reweighted (Cauchy weights relative to the image's own spread) so
    that marks or a strip of another material hardly tilt it. The weights are smooth, so that two
    materials of equal area share the level instead of one of them winning by chance. Images are
    (B, C, H, W) floats or integer `shares`.
    """
    height, width = images.shape[2:]
    rows, columns = min(_CELLS, height), min(_CELLS, width)
    # Row by row of cells, so that a large image is never in memory as floats.
    edges = [(i * height // rows, -(-(i + 1) * height // rows)) for i in range(rows)]
    means = torch.stack([shares(images[:, :, a:b]).mean(dim=2) for a, b in edges], dim=2)
    cells = F.adaptive_avg_pool2d(means, (rows, columns)).flatten(2).cpu().double()
    # The cells' mean positions are exact even where cells overlap.
    down = F.adaptive_avg_pool1d(positions(height).double()[None], rows)[0]
    across = F.adaptive_avg_pool1d(positions(width).double()[None], columns)[0]
    down, across = down.repeat_interleave(columns), across.repeat(rows)
    basis = torch.stack([torch.ones_like(down), down, across], dim=1)
    products = (basis[:, :, None] * basis[:, None]).flatten(1)
    weight = torch.ones_like(cells)
    plane = torch.zeros_like(cells[..., :3])
    # A single row or column has no gradient: the ridge makes it 0.
    ridge = 1e-9 * torch.eye(3, dtype=cells.dtype)
    for _ in range(_ITERATIONS):
        share = weight / weight.sum(dim=2, keepdim=True)
        normal = (share @ products).view(*share.shape[:2], 3, 3) + ridge
        plane = torch.linalg.solve(normal, (share * cells) @ basis)
        squares = (cells - plane @ basis.T) ** 2
        typical = (share * squares).sum(dim=2, keepdim=True).clamp_min(1e-12)
        weight = 1 / (1 + squares / (_TOLERANCE**2 * typical))
    return plane
