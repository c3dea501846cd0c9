"""Padding by reflection at the right and lower border, for any size, also a single pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def reflected_indices(size: int, padded: int) -> npt.NDArray[np.int64]:
    """Where each of `padded` rows comes from when `size` rows are mirrored as often as needed.

    The border row is repeated (..., n-2, n-1, n-1, n-2, ...), which also works for a single row.

    Returns:
        (padded,) int64 in [0, size); the first `size` are 0, 1, 2, ...
    """
    position = np.arange(padded, dtype=np.int64) % (2 * size)
    return np.minimum(position, 2 * size - 1 - position)
