"""From which confidence on predictions of a class are right often enough, judged on held-out labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from unseen.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class ConfidenceThreshold:
    """What is kept of one class, and how good it was on the held-out images.

    Attributes:
        confidence: predictions from here on are kept; None = none, the precision is not reached.
        precision: share of the kept predictions that were right; the best one reached where
            `confidence` is None; None where there were no predictions.
        bound: its lower confidence bound; likewise.
        recall: share of the objects that the kept predictions find; None where there are none.
        kept: predictions kept on the held-out images.
    """

    confidence: float | None
    precision: float | None
    bound: float | None
    recall: float | None
    kept: int


def confidence_threshold(
    confidence: npt.ArrayLike,
    is_right: npt.ArrayLike,
    objects: int,
    *,
    wanted: float,
    level: float = 0.9,
) -> ConfidenceThreshold:
    """The lowest confidence from which on the precision is at least the wanted one.

    "Is" means the one-sided lower bound of Clopper and Pearson (1934), not the observed share: of
    three predictions that were all right nobody knows whether nineteen of twenty would be. For .95 at
    a level of .9 it takes 45 predictions without a mistake. The threshold is chosen on the same
    images that the bound is from, which flatters it a little.

    Args:
        confidence: (N,) of the predictions of the class.
        is_right: (N,) bool: matches an object of the class.
        objects: how many there are.
        wanted: precision, in (0, 1).
        level: of the bound, in [0.5, 1).

    Raises:
        ShapeError: the arrays differ in length.
        ConfigError: a number is out of its range.
    """
    scores = np.asarray(confidence, np.float64).reshape(-1)
    right = np.asarray(is_right, bool).reshape(-1)
    if len(scores) != len(right):
        raise ShapeError(f"{len(scores)} confidences and {len(right)} answers; expected as many")
    if not 0 < wanted < 1 or not 0.5 <= level < 1:
        raise ConfigError(f"wanted precision {wanted}, level {level}; expected (0, 1) and [0.5, 1)")
    if not len(scores):
        return ConfidenceThreshold(None, None, None, 0.0 if objects else None, 0)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    kept = np.arange(1, len(scores) + 1)
    # Equal confidences are kept or dropped together: a cut lies behind the last of them only.
    cuts = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))
    found, number = hits[cuts], kept[cuts]
    bounds = np.where(found > 0, stats.beta.ppf(1 - level, found, number - found + 1), 0.0)
    good = np.flatnonzero(bounds >= wanted)
    best = good[-1] if len(good) else int(np.argmax(bounds))
    return ConfidenceThreshold(
        confidence=float(scores[cuts[best]]) if len(good) else None,
        precision=float(found[best] / number[best]),
        bound=float(bounds[best]),
        recall=float(found[best] / objects) if objects and len(good) else 0.0 if objects else None,
        kept=int(number[best]) if len(good) else 0,
    )
