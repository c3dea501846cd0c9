"""Whole-image features of several layers on one common scale, in which distances mean something."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError

Floats = npt.NDArray[np.float64]

#: A number that is the same in all images stays 0.
_SMALLEST = 1e-6


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
