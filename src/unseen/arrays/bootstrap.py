"""Confidence intervals by resampling images.

Source: B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 6, 8 (strata) and
13 (percentile intervals). Images are resampled, not boxes: boxes of one image are not independent.
The random numbers are the same every time, so that figures do not change between two looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
#: Share of the resamples inside an interval.
LEVEL = 0.95
#: Draws held in memory at a time.
_DRAWS = 4_000_000

Bounds = tuple[float, float]


class F1Intervals(NamedTuple):
    """95 % intervals; None where nothing can be said."""

    macro: Bounds | None
    per_class: list[Bounds | None]


def f1_intervals(counts: np.ndarray) -> F1Intervals:
    """Percentile intervals of the F1 per class and of its mean over the classes with test boxes.

    Takes (images, classes, 3) true positives, false positives and false negatives. A resample
    without a box of a class has nothing to find: it is left out of the class's interval, and the
    class out of its mean. None with fewer than two images or without a box, and where every resample
    gives the same: a width of 0 would claim a certainty that few images do not give.
    """
    if len(counts) < 2:
        return F1Intervals(None, [None] * counts.shape[1])
    sums = resampled_sums(counts, RESAMPLES, np.random.default_rng(0))
    f1 = _f1_of_resamples(sums, _has_boxes(counts.sum(axis=0)))
    bounds = [_bounds(values) for values in (_class_mean(f1), *f1.T)]
    macro, *per_class = (b if b is None or b[0] < b[1] else None for b in bounds)
    return F1Intervals(macro, per_class)


def gain_interval(before: np.ndarray, after: np.ndarray) -> Bounds | None:
    """Percentile interval of the gain in mean F1 between two detectors on the same images.

    Takes the counts of `f1_intervals` twice, with the images in the same order. Each resample
    measures both, so that the difficulty of an image counts for both: more precise than the
    difference of two intervals. None with fewer than two images or without a box.
    """
    if len(before) < 2:
        return None
    both = np.stack([before, after], axis=1)
    sums = resampled_sums(both, RESAMPLES, np.random.default_rng(0))
    # A class counts if its boxes are in the split, whichever evaluation saw them.
    known = np.logical_or(*_has_boxes(both.sum(axis=0)))
    means = [_class_mean(_f1_of_resamples(sums[:, i], known)) for i in (0, 1)]
    return _bounds(means[1] - means[0])


def mean_difference_interval(
    strata: Sequence[tuple[np.ndarray, np.ndarray]], weights: npt.ArrayLike
) -> Bounds | None:
    """Percentile interval of the weighted mean, over strata, of mean(first) - mean(second).

    Each stratum has two independent groups, (n,) and (m,), one number per image, that are resampled
    separately; its weight is >= 0, and all sum to 1. None if all first or all second groups together
    have fewer than two images.
    """
    if any(sum(map(len, groups)) < 2 for groups in zip(*strata, strict=True)):
        return None
    rng = np.random.default_rng(0)
    total = np.zeros(RESAMPLES)
    for groups, weight in zip(strata, np.asarray(weights, np.float64), strict=True):
        first, second = (resampled_sums(group, RESAMPLES, rng) / len(group) for group in groups)
        total += weight * (first - second)
    return _bounds(total)


def resampled_sums(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(resamples, ...) float64 sums over resamples, with replacement, of (images, ...) numbers.

    The images are sorted first, so that the result does not depend on their order.
    """
    count = len(values)
    flat = np.asarray(values, dtype=np.float64).reshape(count, -1)
    flat = flat[np.lexsort(flat.T[::-1])] if flat.shape[1] else flat
    sums = np.empty((resamples, flat.shape[1]))
    step = max(1, _DRAWS // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        draws = rng.integers(0, count, (size, count), dtype=np.int32)
        draws += np.arange(size, dtype=np.int32)[:, None] * np.int32(count)
        times = np.bincount(draws.ravel(), minlength=size * count).reshape(size, count)
        sums[start : start + size] = times @ flat
    return sums.reshape(resamples, *np.shape(values)[1:])


def f1_scores(sums: np.ndarray) -> np.ndarray:
    """F1 = 2 TP / (2 TP + FP + FN) in [0, 1] of (..., 3) counts; 0 without boxes and detections."""
    tp, fp, fn = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    below = 2 * tp + fp + fn
    return np.asarray(np.divide(2 * tp, below, out=np.zeros_like(below), where=below > 0))


def _has_boxes(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] + sums[..., 2] > 0)


def _f1_of_resamples(sums: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(R, classes) F1; NaN where a class has no box in the resample, or none at all."""
    return np.where(_has_boxes(sums) & known, f1_scores(sums), np.nan)


def _class_mean(f1: np.ndarray) -> np.ndarray:
    """(R,) means over the classes that are not NaN."""
    return np.asarray(np.ma.masked_invalid(f1).mean(axis=1).filled(np.nan))


def _bounds(values: np.ndarray) -> Bounds | None:
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
