"""Quantiles of more numbers than fit into memory."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from unseen.errors import ConfigError

#: A float32 in [0, 1] has its sign 0; of the other 31 bits these many low ones are dropped. What
#: is left (8 bits of exponent, 9 of mantissa) is the bin's number: bins are 2^-9 wide relative to
#: the value, however small it is, and 0 has a bin of its own.
_DROPPED_BITS = 14
_BINS = (int(np.float32(1).view(np.uint32)) >> _DROPPED_BITS) + 1


class StreamingQuantiles:
    """Quantiles of scores in [0, 1] that arrive map by map; 0.5 MB whatever their number.

    The quantile q of n scores is the sorted score number floor(q * (n - 1)), from 0 (numpy's method
    "lower"), with a relative error of at most 2^-10 (0.1 %): the middle of its bin is returned.
    0 is exact. Order and grouping of `add` do not matter.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)

    @property
    def count(self) -> int:
        """How many scores were added."""
        return int(self._counts.sum())

    def add(self, scores: npt.ArrayLike) -> None:
        """Add scores of any shape, in [0, 1]; values beyond are clipped, NaN is ignored."""
        values = np.asarray(scores, dtype=np.float32).reshape(-1)
        values = np.clip(values[~np.isnan(values)], 0, 1)
        bins = (values + np.float32(0)).view(np.uint32) >> _DROPPED_BITS  # + 0 turns -0 into 0
        self._counts += np.bincount(bins, minlength=_BINS)

    def merge(self, other: StreamingQuantiles) -> None:
        """Add everything that was added to another one."""
        self._counts += other._counts

    def quantile(self, q: float) -> float:
        """The quantile q.

        Args:
            q: in [0, 1].

        Returns:
            A score in [0, 1]; 0 when nothing was added.

        Raises:
            ConfigError: q is not in [0, 1].
        """
        if not 0 <= q <= 1:
            raise ConfigError(f"quantile {q!r}; expected a number from 0 to 1")
        if not self.count:
            return 0.0
        # A product such as 0.3 * 10 = 2.9999999999999996 must not lose one place.
        place = math.floor(q * (self.count - 1) + 1e-9)
        bin_ = int(np.searchsorted(np.cumsum(self._counts), place, side="right"))
        if bin_ in (0, _BINS - 1):
            return float(bin_ > 0)
        edges = (np.asarray([bin_, bin_ + 1], dtype=np.uint32) << _DROPPED_BITS).view(np.float32)
        return float(edges.mean(dtype=np.float64))
