"""The confidence from which predictions of a class are right often enough, on held-out labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from unseen.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class ConfidenceThreshold:
    """The threshold of one class, and how good it was on the held-out images."""

    confidence: float | None  #: predictions from here on are kept; None = none is good enough
    precision: float | None  #: of those kept, or else the best one; None without predictions
    bound: float | None  #: its lower confidence bound; likewise
    recall: float | None  #: of the kept predictions; None without objects
    kept: int  #: predictions kept on the held-out images


def confidence_threshold(
    confidence: npt.ArrayLike,
    is_right: npt.ArrayLike,
    objects: int,
    *,
    wanted: float,
    level: float = 0.9,
) -> ConfidenceThreshold:
    """The lowest confidence from which on the precision is at least `wanted`, in (0, 1).

    It is judged by the one-sided lower bound of Clopper and Pearson (1934) at a `level` in [0.5,
    1), not by the observed share: three right predictions of three do not promise nineteen of
    twenty. A precision of .95 at a level of .9 takes 45 predictions without a mistake. The
    threshold is chosen on the same images as the bound, which is therefore slightly optimistic.

    Takes the (N,) confidences of a class, (N,) bool whether each matches one of its objects, and
    the number of these. Raises `ShapeError` or `ConfigError` if they do not fit or are out of
    range.
    """
    scores = np.asarray(confidence, np.float64).reshape(-1)
    right = np.asarray(is_right, bool).reshape(-1)
    if len(scores) != len(right):
        raise ShapeError(
            f"{len(scores)} confidences and {len(right)} answers; expected one of each per prediction"
        )
    if not 0 < wanted < 1 or not 0.5 <= level < 1:
        raise ConfigError(f"wanted precision {wanted}, level {level}; expected (0, 1) and [0.5, 1)")
    no_recall = 0.0 if objects else None
    if not len(scores):
        return ConfidenceThreshold(None, None, None, no_recall, 0)
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    # Equal confidences are kept or dropped together: a cut lies behind the last of them only.
    cuts = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))
    kept, hits = cuts + 1, np.cumsum(right)[cuts]
    bounds = np.where(hits > 0, stats.beta.ppf(1 - level, hits, kept - hits + 1), 0.0)
    good = np.flatnonzero(bounds >= wanted)
    best = good[-1] if len(good) else int(np.argmax(bounds))
    precision, bound = float(hits[best] / kept[best]), float(bounds[best])
    if not len(good):
        return ConfidenceThreshold(None, precision, bound, no_recall, 0)
    recall = float(hits[best] / objects) if objects else None
    return ConfidenceThreshold(float(scores[cuts[best]]), precision, bound, recall, int(kept[best]))
