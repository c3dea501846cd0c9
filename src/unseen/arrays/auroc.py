"""How well a score separates two groups: the area under the ROC curve.

The probability that a random member of the first group scores above a random member of the second,
where ties count half (Hanley & McNeil 1982). 0.5 is chance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

#: float16 values from 0 to 1 by the bits that represent them, which order as the values do.
_VALUES = int(np.float16(1).view(np.uint16)) + 1


def auroc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float | None:
    """The area in [0, 1] for (N,) scores that should be high and (M,) that should be low.

    None if a group is empty. From the Mann-Whitney U statistic.
    """
    high, low = (np.asarray(scores, dtype=np.float64) for scores in (positive, negative))
    if not len(high) or not len(low):
        return None
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / len(high) / len(low))


class StreamingAuroc:
    """The area over the pixels of more maps than fit into memory; exact for float16 scores."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, _VALUES), dtype=np.int64)

    def add(self, score: npt.NDArray[np.float16], is_positive: npt.NDArray[np.bool_]) -> None:
        """Count float16 scores in [0, 1] of any shape; `is_positive` has the same shape."""
        values = np.clip(np.asarray(score, dtype=np.float16), 0, 1) + np.float16(0)  # -0 becomes 0
        bins = np.ascontiguousarray(values).view(np.uint16)
        for group in (False, True):
            self._counts[int(group)] += np.bincount(bins[is_positive == group], minlength=_VALUES)

    def area(self) -> float | None:
        """The area in [0, 1], or None while a group is empty."""
        negative, positive = self._counts
        if not negative.any() or not positive.any():
            return None
        below = np.cumsum(negative) - negative
        won = (positive * (below + negative / 2)).sum()
        return float(won / positive.sum() / negative.sum())
