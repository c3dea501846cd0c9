"""More of a class that was just found and of which there is little."""

from __future__ import annotations

import numpy as np

from unseen.ranking.candidates import Candidates, Criterion
from unseen.ranking.feature_space import Floats
from unseen.ranking.selection import Indices, alternate


def new_class(pool: Candidates, count: int) -> Indices:
    """The images with the most evidence of each wanted class, the classes taking turns."""
    orders = []
    for evidence in pool.evidence.T:
        known = np.flatnonzero(~np.isnan(evidence))
        orders.append(known[np.argsort(-evidence[known], kind="stable")])
    return alternate(orders, _shares(pool), count)[0]


def _shares(pool: Candidates) -> Floats:
    has_evidence = ~np.isnan(pool.evidence).all(axis=0)
    return np.where(has_evidence, pool.wanted, 0)


CRITERION = Criterion(
    name="new_class",
    seeks="a class that was just found",
    order=40,
    share="found",
    choose=new_class,
    has_images=lambda pool: bool(_shares(pool).any()),
)
