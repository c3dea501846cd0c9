"""Does one strategy do better than another? Differences between runs that share dataset and seed.

Two runs of one seed start from the same images of the same pool, so their difference is free of what
makes one seed easier than another. Seeds are resampled within each dataset, and the datasets count
alike: the interval is about these datasets with other seeds, not about datasets that were not tried.

Sources: B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 8 and 13 (strata,
percentiles); T. Hesterberg, *What Teachers Should Know About the Bootstrap*, 2015 (why the
percentiles of a few values are too narrow, and the expanded percentiles used here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from unseen.arrays.bootstrap import LEVEL, Bounds, resampled_sums
from unseen.errors import ShapeError

RESAMPLES = 10_000
#: Differences closer to 0 count as equal: they differ by rounding only.
SAME = 1e-9
#: Fewer degrees of freedom (pairs less datasets) say nothing about the spread: 1 dataset, 2 seeds.
MIN_FREEDOM = 2


@dataclass(frozen=True)
class PairedDifference:
    """How much more one strategy reached than another.

    Attributes:
        mean: mean over the datasets of the mean difference over their seeds.
        interval: 95 % interval of it; None where nothing can be said.
        reason: why there is no interval; "" where there is one.
        above: pairs in which it reached more.
        equal: pairs in which both reached the same.
        below: pairs in which it reached less.
        p: two-sided sign test over the pairs that differ, in (0, 1]; 1 where none does.
    """

    mean: float
    interval: Bounds | None
    reason: str
    above: int
    equal: int
    below: int
    p: float

    @property
    def pairs(self) -> int:
        """Runs that were compared."""
        return self.above + self.equal + self.below

    @property
    def verdict(self) -> str:
        """In words: "above", "below", "cannot be told apart", "too few seeds to tell".

        Where every pair differs by exactly the same, there is no interval and no doubt.
        """
        if self.interval is not None:
            low, high = self.interval
            return "above" if low > 0 else "below" if high < 0 else "cannot be told apart"
        if self.pairs < 3 or self.reason != ALWAYS_SAME:
            return "too few seeds to tell"
        if abs(self.mean) <= SAME:
            return "cannot be told apart"
        return "above" if self.mean > 0 else "below"


ALWAYS_SAME = "the difference is the same every time"


def paired_difference(
    strata: Sequence[npt.ArrayLike],
    *,
    resamples: int = RESAMPLES,
    rng: np.random.Generator | None = None,
) -> PairedDifference | None:
    """The mean difference with its interval.

    The seeds of each dataset are drawn anew, with replacement, and the mean over the datasets is
    taken. With n seeds such a mean spreads too little, by sqrt((n - 1) / n), which for three seeds is
    a fifth: the deviations are enlarged by the inverse, and the percentiles taken further out, as
    Student's t lies further out than the normal distribution. That makes the interval cover the truth
    as often as it says from six pairs on; for one dataset with three seeds, the fewest, in about 82 of
    100 cases.

    Args:
        strata: per dataset (n,) differences, the first strategy's figure less the other's on the same
            seed. Datasets without any are left out.
        resamples: how often the seeds are drawn anew.
        rng: default: the same one each time, so that figures do not change between two looks.

    Returns:
        The difference; None without any pair. It depends neither on the order of the datasets nor on
        that of the seeds.

    Raises:
        ShapeError: a stratum is not (n,), or holds a number that is not finite.
    """
    groups = sorted((_checked(s) for s in strata), key=lambda values: (len(values), *values))
    groups = [values for values in groups if len(values)]
    if not groups:
        return None
    every = np.concatenate(groups)
    above, below = int((every > SAME).sum()), int((every < -SAME).sum())
    interval, reason = _interval(groups, resamples, rng)
    return PairedDifference(
        mean=float(np.mean([values.mean() for values in groups])),
        interval=interval,
        reason=reason,
        above=above,
        equal=len(every) - above - below,
        below=below,
        p=sign_test(above, below),
    )


def sign_test(above: int, below: int) -> float:
    """The chance of a split at least so uneven if both directions are equally likely.

    Args:
        above: pairs that differ in one direction.
        below: pairs that differ in the other one.

    Returns:
        The two-sided p value in (0, 1]; 1 without any pair.
    """
    return float(min(1.0, 2 * stats.binom.cdf(min(above, below), above + below, 0.5)))


def _interval(
    groups: Sequence[np.ndarray], resamples: int, rng: np.random.Generator | None
) -> tuple[Bounds | None, str]:
    fewest = min(map(len, groups))
    freedom = sum(map(len, groups)) - len(groups)
    if fewest < 2 or freedom < MIN_FREEDOM:
        seeds = "one seed" if fewest == 1 else f"{fewest} seeds"
        return None, f"only {seeds}; an interval takes 3"
    # The mean of each group spreads by the root of this; Satterthwaite's degrees of freedom.
    spread = np.asarray([values.var(ddof=1) / len(values) for values in groups])
    if np.sqrt(spread.max()) <= SAME:
        return None, ALWAYS_SAME
    freedom = spread.sum() ** 2 / sum(
        s**2 / (len(values) - 1) for s, values in zip(spread, groups, strict=True)
    )
    tail = float(stats.norm.cdf(stats.t.ppf((1 - LEVEL) / 2, freedom)))
    rng = rng or np.random.default_rng(0)
    means = np.zeros(resamples)
    for values in groups:
        n = len(values)
        enlarged = values.mean() + (values - values.mean()) * np.sqrt(n / (n - 1))
        means += resampled_sums(enlarged, resamples, rng) / n / len(groups)
    low, high = np.quantile(means, [tail, 1 - tail])
    return (float(low), float(high)), ""


def _checked(values: npt.ArrayLike) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ShapeError(
            f"differences have shape {array.shape} and are {array.tolist()}; expected one finite "
            "number per pair of runs"
        )
    return np.sort(array)
