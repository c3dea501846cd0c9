"""How certain a measured F1 is: intervals by resampling the test images.

Source: B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 6 and 13 (the
percentile interval). Images are resampled, not boxes: boxes of one image are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unseen.errors import ShapeError

RESAMPLES = 1000
#: Share of the resamples inside an interval.
LEVEL = 0.95
#: Draws held in memory at a time.
_DRAWS = 4_000_000

Bounds = tuple[float, float]


@dataclass(frozen=True)
class F1Intervals:
    """95 % intervals; None where nothing can be said."""

    macro: Bounds | None
    per_class: list[Bounds | None]


def f1_intervals(
    counts: np.ndarray, *, resamples: int = RESAMPLES, rng: np.random.Generator | None = None
) -> F1Intervals:
    """Percentile intervals of the F1 per class and of its mean over the classes.

    The mean is over the classes with boxes in the test split. In a resample that happens to hold no
    box of a class there is nothing to find: the class is left out of the mean of that resample,
    and that resample out of the class's own interval.

    Args:
        counts: (images, classes, 3) true positives, false positives, false negatives, >= 0.
        resamples: how often the images are drawn anew, with replacement.
        rng: default: the same one each time, so that figures do not change between two looks.

    Returns:
        The intervals. None with fewer than two images or without a box, and where every resample
        gives the same (nothing found, say): a width of 0 would claim a certainty that few images do
        not give.

    Raises:
        ShapeError: counts are not (images, classes, 3), or negative.
    """
    counts = _checked(counts)
    if len(counts) < 2:
        return F1Intervals(None, [None] * counts.shape[1])
    f1 = _f1_of_resamples(resampled_sums(counts, resamples, rng), _with_support(counts))
    found = [_bounds(values) for values in (_mean(f1), *f1.T)]
    macro, *per_class = (b if b is None or b[0] < b[1] else None for b in found)
    return F1Intervals(macro, per_class)


def gain_interval(
    before: np.ndarray,
    after: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    rng: np.random.Generator | None = None,
) -> Bounds | None:
    """Percentile interval of the gain in mean F1 between two detectors on the same images.

    Both are measured on the same resample each time, so that what is hard about an image counts for
    both. That is more precise than the difference of two intervals.

    Args:
        before: (images, classes, 3), see `f1_intervals`.
        after: the same images in the same order.
        resamples: how often the images are drawn anew.
        rng: default: the same one each time.

    Returns:
        The interval of F1(after) - F1(before), or None with fewer than two images or without a box.

    Raises:
        ShapeError: the two differ in shape.
    """
    before, after = _checked(before), _checked(after)
    if before.shape != after.shape:
        raise ShapeError(
            f"counts have shapes {before.shape} and {after.shape}; expected the same images and "
            "classes in the same order"
        )
    if len(before) < 2:
        return None
    sums = resampled_sums(np.stack([before, after], axis=1), resamples, rng)
    # A class counts when its boxes are in the split, whichever evaluation saw them.
    known = _with_support(before) | _with_support(after)
    gains = _mean(_f1_of_resamples(sums[:, 1], known)) - _mean(_f1_of_resamples(sums[:, 0], known))
    return _bounds(gains)


def mean_difference_interval(
    first: np.ndarray,
    second: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    rng: np.random.Generator | None = None,
) -> Bounds | None:
    """Percentile interval of mean(first) - mean(second), two independent groups of images.

    Args:
        first: (n,) one number per image.
        second: (m,) one number per image.
        resamples: how often each group is drawn anew.
        rng: default: the same one each time.

    Returns:
        The interval, or None when a group has fewer than two images.
    """
    if len(first) < 2 or len(second) < 2:
        return None
    rng = rng or np.random.default_rng(0)
    means = [
        resampled_sums(np.asarray(group, dtype=np.float64), resamples, rng) / len(group)
        for group in (first, second)
    ]
    return _bounds(means[0] - means[1])


def stratified_difference_interval(
    strata: Sequence[tuple[np.ndarray, np.ndarray]],
    weights: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    rng: np.random.Generator | None = None,
) -> Bounds | None:
    """Percentile interval of the weighted mean, over strata, of mean(first) - mean(second).

    Each group of each stratum is drawn anew by itself (Efron and Tibshirani, chapter 8).

    Args:
        strata: per stratum two groups, (n,) and (m,), one number per image.
        weights: (strata,) >= 0, sum 1.
        resamples: how often each group is drawn anew.
        rng: default: the same one each time.

    Returns:
        The interval, or None when all first or all second groups together have fewer than two
        images, or every resample gives the same.
    """
    for groups in zip(*strata, strict=True):
        if sum(map(len, groups)) < 2:
            return None
    rng = rng or np.random.default_rng(0)
    total = np.zeros(resamples)
    for (first, second), weight in zip(strata, weights, strict=True):
        means = [
            resampled_sums(np.asarray(group, dtype=np.float64), resamples, rng) / len(group)
            for group in (first, second)
        ]
        total += weight * (means[0] - means[1])
    bounds = _bounds(total)
    return bounds if bounds is not None and bounds[0] < bounds[1] else None


def resampled_sums(
    values: np.ndarray, resamples: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Sums over the images of each resample.

    The images are put into a canonical order first, so that the result does not depend on the order
    in which they come.

    Args:
        values: (images, ...) numbers per image; at least one image.
        resamples: number of resamples R.
        rng: default: the same one each time.

    Returns:
        (R, ...) float64.
    """
    rng = rng or np.random.default_rng(0)
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
    """F1 = 2 TP / (2 TP + FP + FN), 0 where nothing is there and nothing was found.

    Args:
        sums: (..., 3) true positives, false positives, false negatives.

    Returns:
        (...) float64 in [0, 1].
    """
    tp, fp, fn = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    below = 2 * tp + fp + fn
    f1: np.ndarray = np.divide(2 * tp, below, out=np.zeros_like(below), where=below > 0)
    return f1


def _f1_of_resamples(sums: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(R, classes) F1; NaN where a class has no box in the resample, or none at all."""
    has_boxes = sums[..., 0] + sums[..., 2] > 0
    f1: np.ndarray = np.where(has_boxes & known, f1_scores(sums), np.nan)
    return f1


def _with_support(counts: np.ndarray) -> np.ndarray:
    support: np.ndarray = (counts[..., 0] + counts[..., 2]).sum(axis=0)
    return support > 0


def _mean(f1: np.ndarray) -> np.ndarray:
    """Mean over the classes of each resample; NaN where none is defined."""
    defined = ~np.isnan(f1)
    number = defined.sum(axis=1)
    total = np.where(defined, f1, 0.0).sum(axis=1)
    means: np.ndarray = np.divide(total, number, out=np.full(len(f1), np.nan), where=number > 0)
    return means


def _bounds(values: np.ndarray) -> Bounds | None:
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _checked(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, dtype=np.float64)
    if counts.ndim != 3 or counts.shape[2] != 3 or (counts < 0).any():
        raise ShapeError(
            f"counts have shape {counts.shape}; expected (images, classes, 3): true positives, "
            "false positives, false negatives, none of them negative"
        )
    return counts
