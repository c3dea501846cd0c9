"""How unlike the rest of the pool the texture of an image is.

An image is novel when its features (`texture`) lie far from what is usual in the pool. A drift of
the whole pool is not novel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError

#: An image's novelty stands out when it lies this many usual deviations above the median.
STANDS_OUT = 3.0
#: From a median absolute deviation to a standard deviation, for a normal distribution.
_NORMAL = 1.4826
#: What is the same in most images has no width: a hundredth of a logarithm is then a step.
_SMALLEST_WIDTH = 0.01


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
