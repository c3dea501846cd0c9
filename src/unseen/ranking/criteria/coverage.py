"""Kinds of images that nobody has labelled: a typical image of each, the strangest kind first.

A class that changes the whole image makes a group of its own, and the middle of a group says more than
its edge: single strangers (`novelty`) are as often a smudge on the lens. Groups by k-means and typical
images as in *TypiClust* (Hacohen, Dekel and Weinshall 2022), which takes the largest group first; here
the one farthest from what is known goes first, because a rare class is a small group.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unseen.ranking.criteria.contract import Candidates, Floats, farthest_first
from unseen.ranking.selection import Indices

#: Images per group, on average; and fewest and most groups.
IMAGES_PER_GROUP = 12
GROUPS = (10, 100)
#: A group is at least so many images; a single one is a stranger.
SMALLEST_GROUP = 2


def coverage(pool: Candidates, count: int) -> Indices:
    """The typical image of one group after the other, farthest from what is known first.

    Args:
        pool: its `space` and `known`.
        count: positions wanted; groups that run out are followed by the farthest images.
    """
    rows = pool.described
    space, known = pool.groups_space
    points = space[rows]
    if not len(rows):
        return rows
    middles = typical_images(np.concatenate([points, known]), len(rows), pool.seed)
    order = [int(middles[i]) for i in farthest_first(points[middles], known, count)]
    if len(order) < count:
        near = np.concatenate([known, points[order]])
        rest = np.setdiff1d(np.arange(len(rows)), order)
        more = farthest_first(points[rest], near, count - len(order))
        order += [int(rest[i]) for i in more]
    return rows[np.asarray(order, dtype=np.int64)]


def typical_images(points: Floats, usable: int, seed: int) -> npt.NDArray[np.int64]:
    """The point nearest to the middle of each group of at least two.

    Args:
        points: (N, D); rows with NaN belong to no group.
        usable: only the first so many may be given back; the others only shape the groups.
        seed: of k-means.

    Returns:
        Ascending positions, each below `usable`; they do not depend on the order of the points.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    rows = np.flatnonzero(~np.isnan(points).any(axis=1))
    # By value, so that the order of the directory has no say in where k-means starts.
    rows = rows[np.lexsort(points[rows].T)] if points.shape[1] else rows
    values = points[rows]
    distinct = len(np.unique(values, axis=0)) if len(values) else 0
    groups = min(max(GROUPS[0], min(len(rows) // IMAGES_PER_GROUP, GROUPS[1])), distinct)
    if groups < 2 or not points.shape[1]:
        return np.arange(min(usable, 1), dtype=np.int64)
    with threadpool_limits(limits=1):  # sums over several threads differ in their last digits
        means = KMeans(groups, n_init=3, random_state=seed).fit(values)
    found = []
    for group in range(groups):
        of_group = np.flatnonzero(means.labels_ == group)
        allowed = of_group[rows[of_group] < usable]
        if len(of_group) >= SMALLEST_GROUP and len(allowed):
            off = ((values[allowed] - means.cluster_centers_[group]) ** 2).sum(axis=1)
            nearest = allowed[off == off.min()]
            found.append(int(rows[nearest].min()))
    return np.asarray(sorted(found), dtype=np.int64)
