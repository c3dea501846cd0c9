"""Kinds of images that nobody has labelled: a typical image of each, the strangest kind first.

A class that changes the whole image forms a cluster of its own, and the centre of a cluster says
more than its edge: outliers (`novelty`) are as often a smudge on the lens. Clusters and typical
images follow TypiClust (Hacohen, Dekel and Weinshall 2022), which takes the largest cluster first;
here the one farthest from everything known goes first, because a rare class is a small cluster.
"""

from __future__ import annotations

import numpy as np

from unseen.ranking.candidates import Candidates, Criterion
from unseen.ranking.feature_space import Floats, farthest_first, k_means
from unseen.ranking.selection import Indices

#: Mean number of images per cluster, and the fewest and most clusters.
IMAGES_PER_CLUSTER = 12
CLUSTERS = (10, 100)
#: A single image is an outlier, not a cluster.
SMALLEST_CLUSTER = 2


def coverage(pool: Candidates, count: int) -> Indices:
    """The typical image of one cluster after the other, the farthest from all known ones first.

    When the clusters run out, the farthest of the other images follow.
    """
    rows = pool.described
    space, known = pool.whitened
    points = space[rows]
    if not len(rows):
        return rows
    typical = typical_images(np.concatenate([points, known]), len(rows), pool.seed)
    order = typical[farthest_first(points[typical], known, count)]
    rest = np.setdiff1d(np.arange(len(rows)), order)
    near = np.concatenate([known, points[order]])
    more = farthest_first(points[rest], near, count - len(order))
    return np.asarray(rows[np.concatenate([order, rest[more]])])


def typical_images(points: Floats, usable: int, seed: int) -> Indices:
    """The point nearest to the centre of each cluster of at least two.

    Of points (N, D) only the first `usable` are returned; the others just shape the clusters, and
    rows with NaN belong to none. The positions are ascending and do not depend on the order of the
    points.
    """
    rows = np.flatnonzero(~np.isnan(points).any(axis=1))
    # Sorted by value, so that k-means starts at the same places whatever the order of the files.
    rows = rows[np.lexsort(points[rows].T)] if points.shape[1] else rows
    values = points[rows]
    distinct = len(np.unique(values, axis=0)) if len(values) else 0
    count = min(max(CLUSTERS[0], min(len(rows) // IMAGES_PER_CLUSTER, CLUSTERS[1])), distinct)
    if count < 2 or not points.shape[1]:
        return np.arange(min(usable, 1), dtype=np.int64)
    clusters = k_means(values, count, seed)
    typical = []
    for cluster in range(count):
        members = np.flatnonzero(clusters.labels_ == cluster)
        allowed = members[rows[members] < usable]
        if len(members) >= SMALLEST_CLUSTER and len(allowed):
            off = ((values[allowed] - clusters.cluster_centers_[cluster]) ** 2).sum(axis=1)
            typical.append(rows[allowed[off == off.min()]].min())
    return np.sort(np.asarray(typical, dtype=np.int64))


CRITERION = Criterion(
    name="coverage",
    seeks="kinds of images not labelled yet",
    order=30,
    share="features",
    weight=5,
    choose=coverage,
    has_images=lambda pool: len(pool.described) > 0,
)
