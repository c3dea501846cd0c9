"""Pixels that are neither known background nor a known object, in images unlike each other."""

from __future__ import annotations

import numpy as np

from unseen.science import selection
from unseen.science.criteria.contract import Candidates
from unseen.science.selection import Indices


def pixel(pool: Candidates, count: int) -> Indices:
    """As the strategy `diverse`; images that were never scored come last.

    Args:
        pool: its `metric`, and `embed` for the candidates.
        count: positions wanted.
    """
    count = min(count, len(pool))
    near = selection.candidates(pool.metric, count)
    if not count:
        return near
    return near[selection.diverse(pool.metric[near], np.asarray(pool.embed(near)), count)]
