"""What the surface of a whole image looks like, and how unlike the rest of the pool that is.

The unseen score of a pixel answers to objects. A change that covers the whole image - other grain,
bands, a mark from edge to edge - has no border for it to answer to, and may even look like
background. These numbers know nothing of labels: they are gradients at five scales, and an image is
novel when they lie far from what is usual in the pool. A drift of the whole pool is not novel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.errors import ShapeError
from unseen.science.illumination import evened

#: Scales, each half as fine as the one before.
LEVELS = 5
#: Derivatives per scale: across, down, the two diagonals, and Laplace's.
KINDS = 5
#: Side of the cells in which energies are averaged, px.
CELL = 32
#: The cell that stands for an image's strongest marks, by this quantile; and its surface, .5.
QUANTILES = (0.5, 0.95)
#: An image's novelty stands out when it lies this many usual deviations above the median.
STANDS_OUT = 3.0
#: Smallest energy that is told from none: a hundredth of an 8-bit step, squared.
_FLOOR = 1e-7
#: From a median absolute deviation to a standard deviation, for a normal distribution.
_NORMAL = 1.4826
#: What is the same in most images has no width: a hundredth of a logarithm is then a step.
_SMALLEST_WIDTH = 0.01
_BLUR = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


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
    grid = max(1, round(height / CELL)), max(1, round(width / CELL))
    energies = []
    for level in range(LEVELS):
        energies.append(_energies(grey, grid))
        if level < LEVELS - 1:
            grey = _halved(grey)
    # (2, B, LEVELS * KINDS) -> (B, 2 * LEVELS * KINDS)
    cells = torch.cat(energies, dim=1).clamp_min(_FLOOR).log()
    found = torch.quantile(cells.flatten(2), cells.new_tensor(QUANTILES), dim=2)
    return torch.cat(tuple(found), dim=1)


class UsualTexture(NamedTuple):
    """What is usual in a pool; a few hundred images drawn at random are enough to know it."""

    median: npt.NDArray[np.float64]  #: (D,)
    width: npt.NDArray[np.float64]  #: (D,) > 0, a standard deviation if values were normal


def usual_texture(features: npt.ArrayLike) -> UsualTexture:
    """Median and width of each feature over a pool.

    The width is the median absolute deviation: the rare images that are looked for must not widen
    what is usual.

    Args:
        features: (N, D) of the pool or a random part of it; rows with NaN were never computed.

    Raises:
        ShapeError: features are not (N, D).
    """
    values = _rows(features)
    known = values[~np.isnan(values).any(axis=1)]
    if not len(known):
        return UsualTexture(np.zeros(values.shape[1]), np.ones(values.shape[1]))
    median = np.median(known, axis=0)
    width = _NORMAL * np.median(np.abs(known - median), axis=0)
    return UsualTexture(median, np.maximum(width, _SMALLEST_WIDTH))


def texture_novelty(
    features: npt.ArrayLike, usual: UsualTexture | None = None
) -> npt.NDArray[np.float64]:
    """How far each image lies from what is usual: the root of the sum of squared deviations.

    Args:
        features: (N, D).
        usual: of the pool; by default of these very images.

    Returns:
        (N,) float64 >= 0, NaN for rows with NaN; higher = label sooner.

    Raises:
        ShapeError: features are not (N, D).
    """
    values = _rows(features)
    median, width = usual or usual_texture(values)
    return np.asarray(np.sqrt((((values - median) / width) ** 2).sum(axis=1)))


def stands_out(novelty: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which images lie beyond the pool's own spread of novelty, and not just at its upper end.

    In every pool some images are the most novel. Worth a label for that alone are those whose
    logarithm lies `STANDS_OUT` usual deviations (by the median absolute deviation) above the median.

    Args:
        novelty: (N,) of the whole pool, >= 0; NaN where unknown.

    Returns:
        (N,) bool.
    """
    values = np.asarray(novelty, dtype=np.float64).reshape(-1)
    known = np.log(values[values > 0])
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    median = np.median(known)
    usual = max(_NORMAL * float(np.median(np.abs(known - median))), _SMALLEST_WIDTH)
    return np.asarray(values > np.exp(median + STANDS_OUT * usual))


def _rows(features: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2:
        raise ShapeError(f"features have shape {values.shape}; expected (N, D)")
    return values


def _energies(grey: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, KINDS, rows, columns): squared derivatives, averaged over each cell."""
    x = _padded(grey, 1)
    middle = x[..., 1:-1, 1:-1]
    left, right = x[..., 1:-1, :-2], x[..., 1:-1, 2:]
    above, below = x[..., :-2, 1:-1], x[..., 2:, 1:-1]
    kinds = (
        (right - left) / 2,
        (below - above) / 2,
        (x[..., 2:, 2:] - x[..., :-2, :-2]) / 2,
        (x[..., 2:, :-2] - x[..., :-2, 2:]) / 2,
        4 * middle - left - right - above - below,
    )
    return F.adaptive_avg_pool2d(torch.cat(kinds, dim=1).square(), grid)


def _halved(grey: Tensor) -> Tensor:
    """Every second pixel of the blurred image."""
    line = grey.new_tensor(_BLUR)
    blurred = F.conv2d(_padded(grey, 2), line.view(1, 1, 1, 5))
    return F.conv2d(blurred, line.view(1, 1, 5, 1))[..., ::2, ::2]


def _padded(grey: Tensor, width: int) -> Tensor:
    """Continued by reflection, or by its border where the image is too small for that."""
    mode = "reflect" if min(grey.shape[2:]) > width else "replicate"
    return F.pad(grey, (width,) * 4, mode=mode)
