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


def feature_space(vectors: npt.ArrayLike, blocks: Mapping[str, slice]) -> Floats:
    """Standardise every feature over the images and give each block the same weight.

    Blocks are those of `image_features.blocks`; the ones that begin with "max" are left out, since
    single pixels speak there and the unseen score hears those better. Vectors are (M, V), pool and
    labelled images together, and NaN rows stay NaN. Returns (M, D).
    """
    values = np.asarray(vectors, dtype=np.float64)
    used = [part for name, part in blocks.items() if not name.startswith("max")]
    has_features = ~np.isnan(values).any(axis=1)
    scaled = np.full_like(values, np.nan)
    if has_features.any():
        known = values[has_features]
        width = np.maximum(known.std(axis=0), _SMALLEST)
        scaled[has_features] = (known - known.mean(axis=0)) / width
    parts = [scaled[:, part] / np.sqrt(part.stop - part.start) for part in used]
    return np.concatenate(parts, axis=1)


def widest_directions(rows: Floats, most: int) -> tuple[Floats, Floats]:
    """The mean (D,) and at most `most` whitened principal components (D, d) of rows (M, D).

    Rows have standard deviation 1 along each: `(rows - mean) @ components`. Components in which the
    images hardly differ are left out; d is 0 for fewer than two rows.
    """
    if len(rows) < 2:
        return np.zeros(rows.shape[1]), np.zeros((rows.shape[1], 0))
    mean = rows.mean(axis=0)
    covariance = np.cov(rows - mean, rowvar=False).reshape(rows.shape[1], -1)
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


def farthest_first(points: Floats, known: Floats, count: int) -> Indices:
    """The point farthest from all that are known or taken, again and again (greedy k-center).

    Sener and Savarese, *Active Learning for Convolutional Neural Networks: A Core-Set Approach*,
    2018. Points are (N, D) without NaN; NaN rows of known (L, D) are left out. With nothing known,
    the point nearest to the mean comes first. Returns min(count, N) positions; ties to the earlier.
    """
    known = known[~np.isnan(known).any(axis=1)]
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    if len(known):
        # One known row at a time: N x L x D need not fit in memory.
        distance = np.full(len(points), np.inf)
        for row in known:
            distance = np.minimum(distance, _squared(points, row))
    else:
        distance = -_squared(points, points.mean(axis=0))
    taken: list[int] = []
    is_left = np.ones(len(points), dtype=bool)
    for number in range(min(count, len(points))):
        best = int(np.argmax(np.where(is_left, distance, -np.inf)))
        taken.append(best)
        is_left[best] = False
        to_best = _squared(points, points[best])
        distance = to_best if not len(known) and number == 0 else np.minimum(distance, to_best)
    return np.asarray(taken, dtype=np.int64)


def _squared(points: Floats, to: Floats) -> Floats:
    return np.asarray(((points - to) ** 2).sum(axis=1))
