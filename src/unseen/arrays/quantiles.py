"""Quantiles of more scores than fit into memory."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

#: Bins are the bits of a float32 in [0, 1] without the lowest 14: 8 bits of exponent and 9 of mantissa
#: make bins of relative width 2^-9 however small the value is; 0 has a bin of its own.
_DROPPED_BITS = 14
_BINS = (int(np.float32(1).view(np.uint32)) >> _DROPPED_BITS) + 1
#: The float16 in [0, 1] without -0: as many as the bits of 1, and 0.
_HALVES = int(np.float16(1).view(np.uint16)) + 1
#: Scores that are counted together.
_PART = 2**20


class StreamingQuantiles:
    """Quantiles of scores in [0, 1] that arrive map by map, in any order; takes 0.5 MB.

    The quantile q of n scores is sorted score number floor(q * (n - 1)), numpy's method "lower", as
    the middle of its bin: the relative error is at most 2^-10. 0 is exact.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS + 1, dtype=np.int64)
        self._of_half = np.zeros(_HALVES, dtype=np.int64)  # by the bits of a float16

    def add(self, scores: npt.ArrayLike) -> None:
        """Add scores of any shape; values outside [0, 1] are clipped, NaN is ignored."""
        flat = np.asarray(scores).reshape(-1)
        is_half = flat.dtype == np.float16
        for start in range(0, len(flat), _PART):
            part = flat[start : start + _PART]
            if is_half:  # many times as fast
                bits = part.view(np.uint16)[:, None]
                counts = cv2.calcHist([bits], [0], None, [_HALVES], [0, _HALVES])[:, 0]
                if counts.sum(dtype=np.float64) == len(part):
                    self._of_half += counts.astype(np.int64)
                    continue
            self._counts += np.bincount(_bins(part), minlength=_BINS + 1)

    def quantile(self, q: float) -> float:
        """The quantile q in [0, 1] of what was added; 0 if nothing was."""
        halves = np.arange(_HALVES, dtype=np.uint16).view(np.float16)
        counts = self._counts + np.bincount(_bins(halves), self._of_half, _BINS + 1).astype(int)
        counts = counts[:_BINS]
        count = int(counts.sum())
        if not count:
            return 0.0
        # The tolerance keeps products such as 0.3 * 10 = 2.9999999999999996 from losing a place.
        place = math.floor(q * (count - 1) + 1e-9)
        bin_ = int(np.searchsorted(np.cumsum(counts), place, side="right"))
        if bin_ in (0, _BINS - 1):
            return float(bin_ > 0)
        edges = (np.asarray([bin_, bin_ + 1], dtype=np.uint32) << _DROPPED_BITS).view(np.float32)
        return float(edges.mean(dtype=np.float64))


def _bins(values: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """The bin of each value; NaN has one behind the others."""
    clipped = np.clip(values.astype(np.float32), 0, 1) + np.float32(0)  # which turns -0 into 0
    return np.asarray(np.minimum(clipped.view(np.uint32) >> _DROPPED_BITS, np.uint32(_BINS)))
