"""Pixels that are neither known background nor a known object, in images unlike each other."""

from __future__ import annotations

import numpy as np

from unseen.ranking import selection
from unseen.ranking.candidates import Candidates, Criterion
from unseen.ranking.selection import Indices


def pixel(pool: Candidates, count: int) -> Indices:
    """The strategy `diverse` on the images that have a score."""
    scored = np.flatnonzero(~np.isnan(pool.metric)).astype(np.int64)
    count = min(count, len(scored))
    if not count:
        return scored[:0]
    best = scored[selection.candidates(pool.metric[scored], count)]
    return best[selection.diverse(pool.metric[best], pool.embed(best), count)]


CRITERION = Criterion(
    name="pixel",
    seeks="unseen pixels",
    order=10,
    share="pixels",
    choose=pixel,
    has_images=lambda pool: not np.isnan(pool.metric).all(),
)
