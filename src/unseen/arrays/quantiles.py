"""Quantiles of more scores than fit into memory."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

#: Bins are the bits of a float32 in [0, 1] without the lowest 14: 8 bits of exponent and 9 of mantissa
#: make bins of relative width 2^-9 however small the value is; 0 has a bin of its own.
_DROPPED_BITS = 14
_BINS = (int(np.float32(1).view(np.uint32)) >> _DROPPED_BITS) + 1
#: Scores that are counted together.
_PART = 2**20


class StreamingQuantiles:
    """Quantiles of scores in [0, 1] that arrive map by map, in any order; takes 0.5 MB.

    The quantile q of n scores is sorted score number floor(q * (n - 1)), numpy's method "lower", as
    the middle of its bin: the relative error is at most 2^-10. 0 is exact.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)

    def add(self, scores: npt.ArrayLike) -> None:
        """Add scores of any shape; values outside [0, 1] are clipped, NaN is ignored."""
        flat = np.asarray(scores).reshape(-1)
        for start in range(0, len(flat), _PART):
            values = flat[start : start + _PART].astype(np.float32)
            values = np.clip(values[~np.isnan(values)], 0, 1)
            bins = (values + np.float32(0)).view(np.uint32) >> _DROPPED_BITS  # + 0 turns -0 into 0
            self._counts += np.bincount(bins, minlength=_BINS)

    def quantile(self, q: float) -> float:
        """The quantile q in [0, 1] of what was added; 0 if nothing was."""
        count = int(self._counts.sum())
        if not count:
            return 0.0
        # The tolerance keeps products such as 0.3 * 10 = 2.9999999999999996 from losing a place.
        place = math.floor(q * (count - 1) + 1e-9)
        bin_ = int(np.searchsorted(np.cumsum(self._counts), place, side="right"))
        if bin_ in (0, _BINS - 1):
            return float(bin_ > 0)
        edges = (np.asarray([bin_, bin_ + 1], dtype=np.uint32) << _DROPPED_BITS).view(np.float32)
        return float(edges.mean(dtype=np.float64))
