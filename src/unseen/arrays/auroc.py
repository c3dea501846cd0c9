"""How well a score tells two groups apart: the area under the ROC curve.

It is the chance that one of the first group, drawn at random, scores above one of the second; equal
scores count half (Hanley & McNeil 1982). 0.5 is chance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError

#: Half-precision numbers from 0 to 1, by the bits that stand for them; these order as the numbers do.
_VALUES = int(np.float16(1).view(np.uint16)) + 1


def auroc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float | None:
    """The area for two groups of scores.

    Args:
        positive: (N,) scores that should be high.
        negative: (M,) scores that should be low.

    Returns:
        In [0, 1], or None where a group is empty.
    """
    high = np.asarray(positive, dtype=np.float64).reshape(-1)
    low = np.sort(np.asarray(negative, dtype=np.float64).reshape(-1))
    if not len(high) or not len(low):
        return None
    below = np.searchsorted(low, high, side="left")
    not_above = np.searchsorted(low, high, side="right")
    return float((below + not_above).mean() / 2 / len(low))


class StreamingAuroc:
    """The area for pixels of more maps than fit into memory; exact for half-precision scores."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, _VALUES), dtype=np.int64)

    def add(self, score: npt.NDArray[np.float16], is_positive: npt.NDArray[np.bool_]) -> None:
        """Count the pixels of a map, or some of them.

        Args:
            score: float16 in [0, 1], any shape.
            is_positive: bool of the same shape: the group of each pixel.

        Raises:
            ShapeError: the shapes differ.
        """
        if score.shape != is_positive.shape:
            raise ShapeError(
                f"scores of shape {score.shape} have groups of shape {is_positive.shape}; expected "
                "the same"
            )
        values = np.clip(np.asarray(score, dtype=np.float16), 0, 1) + np.float16(0)  # -0 becomes 0
        bins = np.ascontiguousarray(values).view(np.uint16)
        for group in (False, True):
            found = bins[is_positive == group].reshape(-1)
            self._counts[int(group)] += np.bincount(found, minlength=_VALUES)

    def area(self) -> float | None:
        """In [0, 1], or None while a group is empty."""
        negative, positive = self._counts
        if not negative.any() or not positive.any():
            return None
        below = np.cumsum(negative) - negative
        won = (positive * (below + negative / 2)).sum()
        return float(won / positive.sum() / negative.sum())
