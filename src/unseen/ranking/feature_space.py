"""Image features on one common scale, and the geometry in it: directions, clusters, distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from unseen.ranking.selection import Indices

Floats = npt.NDArray[np.float64]

#: A feature that is the same in all images stays 0.
_SMALLEST = 1e-6
#: Directions with less than this part of the widest one's variance are noise.
_NARROWEST = 1e-6
#: Points that are compared, and features that are standardised, together, which bounds memory.
_ROWS, _COLUMNS = 1024, 32


def feature_space(vectors: npt.ArrayLike, blocks: Mapping[str, slice]) -> Floats:
    """Standardise every feature over the images and give each block the same weight.

    Blocks are those of `image_features.blocks`; the ones that begin with "max" are left out, since
    single pixels speak there and the unseen score hears those better. Vectors are (M, V), pool and
    labelled images together, and NaN rows stay NaN. Returns (M, D).
    """
    values = np.asarray(vectors)
    used = [part for name, part in blocks.items() if not name.startswith("max")]
    has_features = ~np.isnan(values).any(axis=1)
    space = np.full((len(values), sum(part.stop - part.start for part in used)), np.nan)
    start = 0
    for part in used:
        for left in range(part.start, part.stop, _COLUMNS):  # all of them in float64 would be large
            right = min(left + _COLUMNS, part.stop)
            columns = values[has_features, left:right].astype(np.float64)
            if len(columns):
                width = np.maximum(columns.std(axis=0), _SMALLEST) * np.sqrt(part.stop - part.start)
                space[has_features, start : start + right - left] = (
                    columns - columns.mean(axis=0)
                ) / width
            start += right - left
    return space


def without_gaps(space: Floats) -> Floats:
    """The rows without NaN; a space of many images is not copied if these are all."""
    is_described = ~np.isnan(space).any(axis=1)
    return space if is_described.all() else space[is_described]


def widest_directions(rows: Floats, most: int) -> tuple[Floats, Floats]:
    """The mean (D,) and at most `most` whitened principal components (D, d) of rows (M, D).

    Rows have standard deviation 1 along each: `(rows - mean) @ components`. Components in which the
    images hardly differ are left out; d is 0 for fewer than two rows.
    """
    if len(rows) < 2:
        return np.zeros(rows.shape[1]), np.zeros((rows.shape[1], 0))
    mean = rows.mean(axis=0)
    scatter = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _ROWS):
        centred = rows[start : start + _ROWS] - mean
        scatter += centred.T @ centred
    covariance = scatter / (len(rows) - 1)
    variance, axes = np.linalg.eigh(covariance)
    kept = np.argsort(-variance)[:most]
    kept = kept[variance[kept] > _NARROWEST * max(float(variance.max(initial=0.0)), 1e-30)]
    return mean, axes[:, kept] / np.sqrt(variance[kept])


def k_means(points: Floats, clusters: int, seed: int) -> Any:
    """scikit-learn's fitted KMeans, reproducible to the last digit."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # sums over several threads differ in their last digits
        return KMeans(clusters, n_init=3, random_state=seed).fit(points)


def nearest(points: Floats, known: Floats) -> tuple[Indices, Floats]:
    """Which row of known (L, D) is nearest to each of the points (N, D), and its squared distance.

    L > 0; without NaN.
    """
    which = np.zeros(len(points), dtype=np.int64)
    distance = np.zeros(len(points))
    half = (known**2).sum(axis=1) / 2
    for start in range(0, len(points), _ROWS):
        part = slice(start, start + _ROWS)
        which[part] = (half - points[part] @ known.T).argmin(axis=1)
        distance[part] = _squared(points[part], known[which[part]])  # exactly 0 for duplicates
    return which, distance


def farthest_first(points: Floats, known: Floats, count: int) -> Indices:
    """The point farthest from all that are known or taken, again and again (greedy k-center).

    Sener and Savarese, *Active Learning for Convolutional Neural Networks: A Core-Set Approach*,
    2018. Points are (N, D) without NaN; NaN rows of known (L, D) are left out. With nothing known,
    the point nearest to the mean comes first. Returns min(count, N) positions; ties to the earlier.
    """
    known = known[~np.isnan(known).any(axis=1)]
    count = min(count, len(points))
    taken: list[int] = []
    if not count:
        return np.zeros(0, dtype=np.int64)
    if len(known):
        _, distance = nearest(points, known)
    else:
        taken = [int(_squared(points, points.mean(axis=0)).argmin())]
        distance = _squared(points, points[taken[0]])
        distance[taken] = -np.inf
    # A distance only falls as points are taken, so most points are never compared with all of them:
    # one that was not is an upper bound, and only the highest are brought up to date.
    compared = np.full(len(points), len(taken))
    while len(taken) < count:
        best = int(np.argmax(distance))
        while compared[best] < len(taken):
            stale = np.flatnonzero(compared < len(taken))
            if len(stale) > _ROWS:
                stale = stale[np.argpartition(-distance[stale], _ROWS)[:_ROWS]]
            for number in range(int(compared[stale].min()), len(taken)):
                rows = stale[compared[stale] <= number]
                to_taken = _squared(points[rows], points[taken[number]])
                distance[rows] = np.minimum(distance[rows], to_taken)
            compared[stale] = len(taken)
            best = int(np.argmax(distance))
        taken.append(best)
        distance[best] = -np.inf
    return np.asarray(taken, dtype=np.int64)


def _squared(points: Floats, to: Floats) -> Floats:
    return np.asarray(((points - to) ** 2).sum(axis=1))
