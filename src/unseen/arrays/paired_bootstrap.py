"""Is one strategy better than another? Differences between runs that share dataset and seed.

Two runs of one seed start from the same images of the same pool, so their difference is free of what
makes one seed easier than another. Seeds are resampled within each dataset, and datasets count
equally: the interval is about these datasets with other seeds, not about other datasets.

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

RESAMPLES = 10_000
#: Differences closer to 0 count as equal: they differ by rounding only.
SAME = 1e-9
#: Fewer degrees of freedom (pairs minus datasets) say nothing about the spread.
MIN_FREEDOM = 2
ALWAYS_SAME = "the difference is the same every time"


@dataclass(frozen=True)
class PairedDifference:
    """How much more one strategy reached than another."""

    mean: float  #: mean over the datasets of the mean difference over their seeds
    interval: Bounds | None  #: its 95 % interval; None where nothing can be said
    reason: str  #: why there is no interval; "" where there is one
    above: int  #: pairs in which the first strategy reached more
    equal: int
    below: int
    p: float  #: two-sided sign test over the pairs that differ; 1 where none does

    @property
    def pairs(self) -> int:
        """Runs that were compared."""
        return self.above + self.equal + self.below

    @property
    def verdict(self) -> str:
        """One of "above", "below", "cannot be told apart", "too few seeds to tell".

        Where every pair differs by the same there is no interval, and no doubt.
        """
        if self.interval is None and (self.pairs < 3 or self.reason != ALWAYS_SAME):
            return "too few seeds to tell"
        low, high = self.interval or (self.mean - SAME, self.mean + SAME)
        return "above" if low > 0 else "below" if high < 0 else "cannot be told apart"


def paired_difference(strata: Sequence[npt.ArrayLike]) -> PairedDifference | None:
    """The mean over datasets of the (n,) differences per seed, with its interval; None without pairs.

    The mean of n resampled seeds spreads too little, by sqrt((n - 1) / n): the deviations are
    enlarged by the inverse, and the percentiles taken further out, as Student's t is wider than the
    normal distribution. The interval then has its nominal coverage from six pairs on; for one
    dataset with three seeds, the fewest, it covers the truth in about 82 of 100 cases. Neither the
    order of the datasets nor that of the seeds matters.
    """
    groups = [np.sort(np.asarray(values, np.float64)) for values in strata]
    groups = sorted((g for g in groups if len(g)), key=lambda values: (len(values), *values))
    if not groups:
        return None
    every = np.concatenate(groups)
    above, below = int((every > SAME).sum()), int((every < -SAME).sum())
    interval, reason = _interval(groups)
    return PairedDifference(
        mean=float(np.mean([values.mean() for values in groups])),
        interval=interval,
        reason=reason,
        above=above,
        equal=len(every) - above - below,
        below=below,
        p=float(stats.binomtest(above, above + below).pvalue) if above + below else 1.0,
    )


def _interval(groups: Sequence[np.ndarray]) -> tuple[Bounds | None, str]:
    fewest = min(map(len, groups))
    if fewest < 2 or sum(map(len, groups)) - len(groups) < MIN_FREEDOM:
        seeds = "one seed" if fewest == 1 else f"{fewest} seeds"
        return None, f"only {seeds}; an interval takes 3"
    # Variances of the groups' means, and Satterthwaite's degrees of freedom.
    spread = np.asarray([values.var(ddof=1) / len(values) for values in groups])
    if np.sqrt(spread.max()) <= SAME:
        return None, ALWAYS_SAME
    freedom = spread.sum() ** 2 / sum(
        s**2 / (len(values) - 1) for s, values in zip(spread, groups, strict=True)
    )
    tail = float(stats.norm.cdf(stats.t.ppf((1 - LEVEL) / 2, freedom)))
    rng = np.random.default_rng(0)
    means = np.zeros(RESAMPLES)
    for values in groups:
        n = len(values)
        enlarged = values.mean() + (values - values.mean()) * np.sqrt(n / (n - 1))
        means += resampled_sums(enlarged, RESAMPLES, rng) / n / len(groups)
    low, high = np.quantile(means, [tail, 1 - tail])
    return (float(low), float(high)), ""
