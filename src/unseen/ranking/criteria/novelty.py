"""Images that look like nothing that is labelled or chosen: single strangers."""

from __future__ import annotations

import numpy as np

from unseen.ranking.criteria.contract import Candidates, farthest_first
from unseen.ranking.selection import Indices


def novelty(pool: Candidates, count: int) -> Indices:
    """The image farthest from all known ones, then the one farthest from those and it, and so on.

    Args:
        pool: its `space` and `known`.
        count: positions wanted.
    """
    rows = pool.described
    return rows[np.asarray(farthest_first(pool.space[rows], pool.known, count), dtype=np.int64)]
