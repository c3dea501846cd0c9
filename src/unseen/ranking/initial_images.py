"""The first images to label: a typical image of each kind, before anything is known.

The start of TypiClust (Hacohen, Dekel and Weinshall, *Active Learning on a Budget*, 2022): as many
clusters as images are wanted, and the image at the centre of each. The criterion `coverage`, which
takes over once there are labels, prefers strange clusters; here nothing is known to be strange to.
"""

from __future__ import annotations

import numpy as np

from unseen.ranking.feature_space import Floats, farthest_first, k_means, widest_directions
from unseen.ranking.selection import Indices

#: Principal components in which images are clustered. Ten clusters need more of them than the
#: question whether an image is strange: with 8 or 32 the first ten images showed fewer classes.
DIMENSIONS = 16


def initial_images(space: Floats, count: int, seed: int) -> Indices:
    """The typical images of `count` clusters, the largest cluster first.

    Space is (N, D) of `feature_space`. Images with the same features count once; their duplicates
    come after all clusters, and images without features (NaN rows) at the very end. Returns
    min(count, N) positions. The choice does not depend on the order of the rows, except that the
    first of equal rows is taken.
    """
    space = np.asarray(space, dtype=np.float64)
    is_described = ~np.isnan(space).any(axis=1)
    rows = np.flatnonzero(is_described)
    # Sorted by value, so that k-means starts at the same places whatever the order of the files.
    values, first = np.unique(space[rows], axis=0, return_index=True)
    mean, axes = widest_directions(values, DIMENSIONS)
    order = rows[first[_typical((values - mean) @ axes, count, seed)]]
    rest = np.setdiff1d(rows, order)
    everything = np.concatenate([order, rest, np.flatnonzero(~is_described)])
    return everything[:count].astype(np.int64)


def _typical(points: Floats, count: int, seed: int) -> Indices:
    """Positions of min(count, N) points: the centres of clusters, then the farthest ones."""
    clusters = min(count, len(np.unique(points, axis=0))) if points.shape[1] else 0
    chosen = np.zeros(0, dtype=np.int64)
    if clusters:
        means = k_means(points, clusters, seed)
        off = ((points - means.cluster_centers_[means.labels_]) ** 2).sum(axis=1)
        sizes = np.bincount(means.labels_, minlength=clusters)
        members = [np.flatnonzero(means.labels_ == c) for c in np.argsort(-sizes, kind="stable")]
        chosen = np.asarray([m[np.argmin(off[m])] for m in members if len(m)], dtype=np.int64)
    rest = np.setdiff1d(np.arange(len(points)), chosen)
    more = farthest_first(points[rest], points[chosen], count - len(chosen))
    return np.concatenate([chosen, rest[more]])
