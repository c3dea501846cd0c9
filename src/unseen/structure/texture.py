"""What the surface of a whole image looks like: gradients at five scales.

The unseen score of a pixel answers to objects. A change that covers the whole image - other grain,
bands, a mark from edge to edge - has no border for it to answer to, and may even look like
background. These numbers know nothing of labels; `novelty` says how unusual they are in a pool.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.arrays.illumination import evened
from unseen.errors import ShapeError

#: Scales, each half as fine as the one before.
LEVELS = 5
#: Derivatives per scale: across, down, the two diagonals, and Laplace's.
KINDS = 5
#: Side of the cells in which energies are averaged, px.
CELL = 32
#: The cell that stands for an image's strongest marks, by this quantile; and its surface, .5.
QUANTILES = (0.5, 0.95)
#: Smallest energy that is told from none: a hundredth of an 8-bit step, squared.
_FLOOR = 1e-7


def texture_features(images: Tensor) -> Tensor:
    """Energies of derivatives at five scales: of the typical cell of 32 px, and of a strong one.

    Logarithms, so that twice the contrast is the same step everywhere. The light is evened out
    first. Images may have any size; what is smaller than a scale needs is repeated by reflection.

    Args:
        images: (B, C, H, W) float32, about in [0, 1]; channels are averaged.

    Returns:
        (B, 50) float32: `QUANTILES` x `LEVELS` x `KINDS`, natural logarithms.

    Raises:
        ShapeError: images have another shape, or no pixels.
    """
    if images.ndim != 4 or not all(images.shape[1:]):
        raise ShapeError(
            f"images have shape {tuple(images.shape)}; expected (B, C, H, W) with C, H and W > 0"
        )
    if not len(images):
        return images.new_zeros((0, len(QUANTILES) * LEVELS * KINDS), dtype=torch.float32)
    grey = images.float().mean(dim=1, keepdim=True)
    grey = evened(grey, grey.new_zeros(1))
    height, width = grey.shape[2:]
    rows, columns = max(1, round(height / CELL)), max(1, round(width / CELL))
    cells = log_energies(grey, rows, columns, LEVELS).flatten(2).sort(dim=2).values
    return torch.cat([_quantile(cells, q) for q in QUANTILES], dim=1)


def log_energies(grey: Tensor, rows: int, columns: int, levels: int) -> Tensor:
    """Logarithms of the energies of derivatives in a grid of cells, scale by scale.

    Args:
        grey: (B, 1, H, W) float32, B > 0.
        rows: cells from top to bottom, at least 1.
        columns: cells from left to right, at least 1.
        levels: scales, at least 1.

    Returns:
        (B, levels * KINDS, rows, columns) float32, natural logarithms.
    """
    energies = []
    # One by one: an image fits into the processor's cache, a batch of them does not.
    greys = [grey[i : i + 1] for i in range(len(grey))]
    for level in range(levels):
        down, across = _cell_means(greys[0], 2, rows), _cell_means(greys[0], 3, columns)
        energies.append(torch.cat([_energies(g, down, across) for g in greys]))
        if level < levels - 1:
            greys = [_blurred_half(_blurred_half(_padded(g, 2), 2), 3) for g in greys]
    return torch.cat(energies, dim=1).clamp_min(_FLOOR).log()


def _energies(grey: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(1, KINDS, rows, columns): squared derivatives of (1, 1, h, w), averaged over each cell.

    One buffer serves all kinds, and two small products of matrices average it.
    """
    x = _padded(grey, 1)
    middle = x[..., 1:-1, 1:-1]
    left, right = x[..., 1:-1, :-2], x[..., 1:-1, 2:]
    above, below = x[..., :-2, 1:-1], x[..., 2:, 1:-1]
    differences = (
        (right, left),
        (below, above),
        (x[..., 2:, 2:], x[..., :-2, :-2]),
        (x[..., 2:, :-2], x[..., :-2, 2:]),
    )
    change = torch.empty_like(grey)
    found = []
    for plus, minus in differences:
        torch.sub(plus, minus, out=change)
        # Half of a difference is the derivative, and a quarter of its square the energy.
        found.append(0.25 * (down @ change.square_() @ across.T))
    torch.mul(middle, 4, out=change)
    for beside in (left, right, above, below):
        change -= beside
    found.append(down @ change.square_() @ across.T)
    return torch.cat(found, dim=1)


def _cell_means(grey: Tensor, dim: int, cells: int) -> Tensor:
    """(cells, size): averages `size` pixels in cells as `adaptive_avg_pool` does."""
    size = grey.shape[dim]
    pixel = torch.arange(size, device=grey.device)
    cell = torch.arange(cells, device=grey.device)[:, None]
    # Cells overlap by a pixel where they do not divide the side.
    is_inside = (pixel >= cell * size // cells) & (pixel < -(-(cell + 1) * size // cells))
    inside = is_inside.to(grey.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def _blurred_half(padded: Tensor, dim: int) -> Tensor:
    """Every second pixel of the image blurred along a dimension, of which it loses the padding."""
    size = padded.shape[dim] - 4
    parts = [padded.narrow(dim, k, size) for k in range(5)]
    every_second = (slice(None),) * dim + (slice(None, None, 2),)
    outer, inner, middle, inner_2, outer_2 = (part[every_second] for part in parts)
    # 1 4 6 4 1, sixteenths; sums of slices are several times as quick as a convolution.
    blurred = (inner + inner_2).mul_(4).add_(middle, alpha=6)
    return blurred.add_(outer).add_(outer_2).mul_(1 / 16)


def _quantile(ordered: Tensor, quantile: float) -> Tensor:
    """As `torch.quantile`, of values in ascending order along the last dimension."""
    at = quantile * (ordered.shape[-1] - 1)
    low = int(at)
    high = min(low + 1, ordered.shape[-1] - 1)
    return torch.lerp(ordered[..., low], ordered[..., high], at - low)


def _padded(grey: Tensor, width: int) -> Tensor:
    """Continued by reflection, or by its border where the image is too small for that."""
    mode = "reflect" if min(grey.shape[2:]) > width else "replicate"
    return F.pad(grey, (width,) * 4, mode=mode)
