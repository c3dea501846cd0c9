"""Even out how brightly an image is lit, so that a drifting process is not taken for novelty."""

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
    """Subtract each image's own brightness and brightness gradient, and add `mean`.

    Level and gradient say how the image was lit and where the process stands, hardly ever what is
    to be labelled. What covers less than about half of an image stands out from the rest as before.
    A change of the whole image's brightness disappears.

    Args:
        images: (B, C, H, W) float32.
        mean: (C,), the level that all images get.

    Returns:
        (B, C, H, W) float32; may leave [0, 1].
    """
    return images - fitted_plane(images) + mean[:, None, None]


def fitted_plane(images: Tensor) -> Tensor:
    """The plane over rows and columns that fits most of an image, for each image and channel.

    Least squares over cell means, reweighted so that what differs from the rest (marks, a strip of
    another material) hardly tilts it. Weights fall smoothly (Cauchy's) and relative to the image's
    own spread: two materials of equal area share the level instead of one of them winning by chance.

    Args:
        images: (B, C, H, W) float32, H and W > 0.

    Returns:
        (B, C, H, W) float32.
    """
    height, width = images.shape[2:]
    rows, columns = min(_CELLS, height), min(_CELLS, width)
    cells = F.adaptive_avg_pool2d(images.float(), (rows, columns)).flatten(2).cpu().double()
    # The cells' mean positions: exact also where cells overlap, because they do not divide the side.
    down = F.adaptive_avg_pool1d(_positions(height, cells)[None], rows)[0]
    across = F.adaptive_avg_pool1d(_positions(width, cells)[None], columns)[0]
    down, across = down.repeat_interleave(columns), across.repeat(rows)
    basis = torch.stack([torch.ones_like(down), down, across], dim=1)
    weight = torch.ones_like(cells)
    plane = torch.zeros_like(cells[..., :3])
    # A gradient cannot be told from a single row or column: the ridge takes it as none.
    ridge = 1e-9 * torch.eye(3, dtype=cells.dtype)
    for _ in range(_ITERATIONS):
        share = weight / weight.sum(dim=2, keepdim=True)
        normal = torch.einsum("bcn,ni,nj->bcij", share, basis, basis) + ridge
        right = torch.einsum("bcn,bcn,ni->bci", share, cells, basis)
        plane = torch.linalg.solve(normal, right)
        squares = (cells - plane @ basis.T) ** 2
        typical = (share * squares).sum(dim=2, keepdim=True).clamp_min(1e-12)
        weight = 1 / (1 + squares / (_TOLERANCE**2 * typical))
    level, slope_down, slope_across = plane.to(images)[..., None, None].unbind(dim=2)
    down, across = _positions(height, images), _positions(width, images)
    return level + slope_down * down[:, None] + slope_across * across


def _positions(count: int, like: Tensor) -> Tensor:
    """Middles of `count` pixels that divide [-1, 1]."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * (2 / count) - 1
