"""Outliers: images that look like nothing that is labelled or chosen."""

from __future__ import annotations

from unseen.ranking.candidates import Candidates, Criterion
from unseen.ranking.feature_space import farthest_first, without_gaps
from unseen.ranking.selection import Indices


def novelty(pool: Candidates, count: int) -> Indices:
    """The image farthest from all known ones, then the farthest from those and it, and so on."""
    rows = pool.described
    return rows[farthest_first(without_gaps(pool.space), pool.known, count)]


CRITERION = Criterion(
    name="novelty",
    seeks="images unlike any other",
    order=20,
    share="features",
    weight=2,
    choose=novelty,
    has_images=lambda pool: len(pool.described) > 0,
)
