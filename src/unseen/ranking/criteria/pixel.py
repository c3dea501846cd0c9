"""Pixels that are neither known background nor a known object, in images unlike each other."""

from __future__ import annotations

import numpy as np

from unseen.ranking import selection
from unseen.ranking.criteria.contract import Candidates
from unseen.ranking.selection import Indices


def pixel(pool: Candidates, count: int) -> Indices:
    """As the strategy `diverse`; silent on images that were never scored.

    Args:
        pool: its `metric`, and `embed` for the candidates.
        count: positions wanted.
    """
    scored = np.flatnonzero(~np.isnan(pool.metric)).astype(np.int64)
    count = min(count, len(scored))
    if not count:
        return scored[:0]
    near = scored[selection.candidates(pool.metric[scored], count)]
    return near[selection.diverse(pool.metric[near], np.asarray(pool.embed(near)), count)]
