"""Rankings that need no UNet: what `ranking.py` compares with. Pure: embeddings in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist

#: What FiftyOne Brain's compute_uniqueness (1.22) takes the mean over: the nearest counts most.
NEIGHBOUR_WEIGHTS = (0.6, 0.3, 0.1)


def simple_embeddings(images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, D) intensity, gradient and block statistics of each (h, w, C) image, standardised."""
    values = np.asarray([_statistics(image.mean(axis=2)) for image in images])
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)


def uniqueness(embeddings: np.ndarray) -> np.ndarray:
    """(N,) weighted mean distance to the three nearest neighbours, as FiftyOne Brain computes it."""
    distance = cdist(embeddings, embeddings)
    np.fill_diagonal(distance, np.inf)
    nearest = np.sort(distance, axis=1)[:, : len(NEIGHBOUR_WEIGHTS)]
    return np.asarray((nearest * NEIGHBOUR_WEIGHTS).mean(axis=1))


def representativeness(embeddings: np.ndarray) -> np.ndarray:
    """(N,) as FiftyOne Brain (1.22) computes it by default: distance to the cluster's centre.

    Divided by the largest distance in that k-means cluster.
    """
    from sklearn.cluster import KMeans

    clusters = KMeans(n_clusters=min(20, len(embeddings)), n_init=1, random_state=1234)
    own = clusters.fit_predict(embeddings)
    distance = np.linalg.norm(embeddings - clusters.cluster_centers_[own], axis=1)
    largest = np.zeros(clusters.n_clusters)
    np.maximum.at(largest, own, distance)
    return np.asarray(distance / np.maximum(largest[own], 1e-12))


def k_center(embeddings: np.ndarray, labelled: Sequence[int], budget: int) -> list[int]:
    """Core-set (Sener & Savarese 2018): again and again the image farthest from all that are taken."""
    nearest = cdist(embeddings, embeddings[list(labelled)]).min(axis=1)
    chosen: list[int] = []
    for _ in range(budget):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, cdist(embeddings, embeddings[chosen[-1:]])[:, 0])
    return chosen


def _statistics(grey: np.ndarray) -> list[float]:
    x = grey.astype(np.float64)
    down, across = np.gradient(x)
    steep = np.hypot(down, across)
    centred = x - x.mean()
    spread = max(float(x.std()), 1e-6)
    row = [
        *np.quantile(x, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]),
        spread,
        float((centred**3).mean()) / spread**3,
        float((centred**4).mean()) / spread**4,
        *np.quantile(steep, [0.25, 0.5, 0.75, 0.95, 0.99]),
        float(np.abs(across).mean()),
        float(np.abs(down).mean()),
    ]
    for side in (8, 16, 32, 64):
        rows, columns = x.shape[0] // side, x.shape[1] // side
        blocks = x[: rows * side, : columns * side].reshape(rows, side, columns, side)
        means, spreads = blocks.mean(axis=(1, 3)), blocks.std(axis=(1, 3))
        row += [means.std(), spreads.mean(), spreads.std(), spreads.max()]
        row += [means.max() - np.median(means), np.median(means) - means.min()]
    return row
