"""Whole-image features of several layers on one common scale, in which distances mean something."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError

Floats = npt.NDArray[np.float64]

#: A number that is the same in all images stays 0.
_SMALLEST = 1e-6
#: A direction in which the images hardly differ is noise: this share of the widest one's variance.
_NARROWEST = 1e-6


def feature_space(vectors: npt.ArrayLike, blocks: Mapping[str, slice]) -> Floats:
    """Standardise every number over the images, and let each block weigh the same.

    Of a network the blocks averaged over the image count; at their maxima single pixels speak, and
    the pixel score hears those better.

    Args:
        vectors: (M, V), pool and labelled images together; NaN rows stay NaN.
        blocks: name -> where it lies (`image_features.blocks`); those that begin with "max" are left
            out.

    Returns:
        (M, D) float64.

    Raises:
        ShapeError: vectors are not (M, V), or a block reaches beyond V.
    """
    values = np.asarray(vectors, dtype=np.float64)
    used = [part for name, part in blocks.items() if not name.startswith("max")]
    if values.ndim != 2 or any(part.stop > values.shape[1] for part in used):
        raise ShapeError(
            f"vectors have shape {values.shape}; expected (M, {max((p.stop for p in used), default=0)}"
            ") or wider"
        )
    there = ~np.isnan(values).any(axis=1)
    scaled = np.full_like(values, np.nan)
    if there.any():
        known = values[there]
        width = np.maximum(known.std(axis=0), _SMALLEST)
        scaled[there] = (known - known.mean(axis=0)) / width
    parts = [scaled[:, part] / np.sqrt(part.stop - part.start) for part in used]
    return np.concatenate(parts, axis=1)


def widest_directions(rows: Floats, most: int) -> tuple[Floats, Floats]:
    """Principal directions, scaled so that the images have standard deviation 1 along each.

    Args:
        rows: (M, D), no NaN.
        most: directions at most; those in which the images hardly differ are left out.

    Returns:
        (D,) the mean and (D, d) the directions: (x - mean) @ directions. d is 0 for fewer than two rows.
    """
    if len(rows) < 2:
        return np.zeros(rows.shape[1]), np.zeros((rows.shape[1], 0))
    mean = rows.mean(axis=0)
    covariance = np.cov(rows - mean, rowvar=False).reshape(rows.shape[1], -1)
    variance, axes = np.linalg.eigh(covariance)
    kept = np.argsort(-variance)[:most]
    kept = kept[variance[kept] > _NARROWEST * max(float(variance.max(initial=0.0)), 1e-30)]
    return mean, axes[:, kept] / np.sqrt(variance[kept])
