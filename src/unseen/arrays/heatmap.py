"""The unseen score as a small picture for the App."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

#: Values below this share of full scale become 0. The App draws 0 fully transparent; without the
#: floor the faint score that every pixel has would veil the whole image.
NOISE_FLOOR = 0.1


def heatmap(
    score: npt.NDArray[np.float32], full_scale: float, longest_side: int
) -> npt.NDArray[np.uint8]:
    """Shrink the score by taking maxima, so that a defect of a few pixels survives, and quantise.

    Args:
        score: (h, w) float32 >= 0.
        full_scale: the score shown as 255, usually a high quantile over the pool; anything above
            is 255 as well. 0 or less gives an empty heatmap.
        longest_side: of the result, px; smaller scores keep their size.

    Returns:
        (h', w') uint8 of the same aspect: 0 = nothing unseen, 255 = full scale.
    """
    height, width = score.shape
    factor = min(1.0, longest_side / max(height, width))
    for axis, size in enumerate((height, width)):
        target = max(1, math.floor(size * factor + 0.5))
        if target < size:
            starts = np.arange(target, dtype=np.int64) * size // target
            score = np.maximum.reduceat(score, starts, axis=axis)
    if not full_scale > 0:
        return np.zeros(score.shape, dtype=np.uint8)
    relative = np.clip(score / full_scale, 0, 1)
    relative = np.where(relative < NOISE_FLOOR, 0, relative)
    return np.asarray(np.rint(relative * 255), dtype=np.uint8)
