"""The first images to label: one typical image of each kind there is, before anything is known.

The start of *TypiClust* (Hacohen, Dekel and Weinshall, *Active Learning on a Budget*, 2022): as many
groups as images are wanted, and the image in the middle of each. `coverage`, which goes on once there
are labels, takes strange groups first; here nothing is known that a group could be strange to.
"""

from __future__ import annotations

import numpy as np

from unseen.errors import BudgetError, ShapeError
from unseen.ranking.criteria.contract import Floats, farthest_first
from unseen.ranking.criteria.feature_space import widest_directions
from unseen.ranking.selection import Indices

#: Principal components in which images are grouped. Ten groups need more of them than the question
#: whether an image is strange: with 8 or 32 the first ten images showed somewhat fewer classes.
DIMENSIONS = 16


def initial_images(space: Floats, count: int, seed: int) -> Indices:
    """The typical images of `count` groups, the largest group first.

    Images of the same features count once; the others of them come after all groups, and images
    without features at the very end.

    Args:
        space: (N, D) whole-image features on a common scale (`feature_space`); NaN rows where the
            image could not be read.
        count: images wanted, >= 0.
        seed: of k-means.

    Returns:
        min(count, N) positions, none twice. Which features are chosen does not depend on the order
        of the rows; of equal rows the first is taken.

    Raises:
        ShapeError: space is not (N, D).
        BudgetError: count is negative.
    """
    space = np.asarray(space, dtype=np.float64)
    if space.ndim != 2:
        raise ShapeError(f"space has shape {space.shape}; expected (N, D)")
    if count < 0:
        raise BudgetError(f"count={count}; expected 0 or more images")
    is_described = ~np.isnan(space).any(axis=1)
    rows = np.flatnonzero(is_described)
    # Ascending by value, so that the order of the directory has no say in where k-means starts.
    values, first = np.unique(space[rows], axis=0, return_index=True)
    mean, axes = widest_directions(values, DIMENSIONS)
    order = rows[first[_typical((values - mean) @ axes, count, seed)]]
    rest = np.setdiff1d(rows, order)
    everything = np.concatenate([order, rest, np.flatnonzero(~is_described)])
    return everything[:count].astype(np.int64)


def _typical(points: Floats, count: int, seed: int) -> Indices:
    """Positions of min(count, N) points: the middles of groups, then the farthest ones."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    groups = min(count, len(np.unique(points, axis=0))) if points.shape[1] else 0
    chosen: list[int] = []
    if groups:
        with threadpool_limits(limits=1):  # sums over several threads differ in their last digits
            means = KMeans(groups, n_init=3, random_state=seed).fit(points)
        off = ((points - means.cluster_centers_[means.labels_]) ** 2).sum(axis=1)
        sizes = np.bincount(means.labels_, minlength=groups)
        for group in np.argsort(-sizes, kind="stable"):
            members = np.flatnonzero(means.labels_ == group)
            if len(members):
                chosen.append(int(members[np.argmin(off[members])]))
    rest = np.setdiff1d(np.arange(len(points)), chosen)
    more = farthest_first(points[rest], points[chosen], count - len(chosen))
    return np.asarray([*chosen, *rest[more].tolist()], dtype=np.int64)
