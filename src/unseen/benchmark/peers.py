"""What the package is measured against: vectors per image, and the core-set ranking by them.

Uniqueness and representativeness are FiftyOne Brain's own functions (`dataset.brain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unseen.arrays.image_statistics import image_statistics, standardised
from unseen.arrays.images import read_image
from unseen.benchmark.pools import Pool
from unseen.errors import ImageError
from unseen.ranking.selection import check_budget

Vectors = npt.NDArray[np.float64]


def simple_embeddings(pool: Pool) -> Vectors:
    """(N, 41) intensity, gradient and block statistics of each image, standardised over the pool."""
    return standardised(np.stack([image_statistics(read_image(f.path)) for f in pool.files]))


def pretrained_embeddings(pool: Pool, device: str, folder: Path) -> Vectors:
    """(N, V) features of each image by the pretrained network at hand, standardised over the pool.

    Args:
        pool: the images.
        device: on which to compute.
        folder: where features are kept.

    Raises:
        CheckpointError: the weights are damaged.
        ImageError: an image cannot be read.
    """
    from unseen.arrays.devices import resolve_device
    from unseen.ranking.features.backbones import find_backbone
    from unseen.ranking.features.compute import Features

    features = Features(find_backbone()[0].on(resolve_device(device)), folder)
    vectors = features.vectors([file.path for file in pool.files])
    for message in features.failures.values():
        raise ImageError(message)
    return standardised(vectors)


def neighbour_distance(embeddings: Vectors, count: int = 3) -> npt.NDArray[np.float64]:
    """(N,) mean distance of each image to its nearest neighbours in the pool; higher = more unlike.

    The plain form of what Brain's uniqueness is a variant of: that one compares directions only, and
    (in 1.22) does not sort the neighbours that it weighs.

    Args:
        embeddings: (N, D); rows with NaN were never computed and get NaN.
        count: neighbours, at most N - 1 are there.
    """
    from scipy.spatial import cKDTree

    places = np.flatnonzero(~np.isnan(embeddings).any(axis=1))
    known = embeddings[places]
    mean = np.full(len(embeddings), np.nan)
    if len(known) > 1:
        distance, _ = cKDTree(known).query(known, k=min(count + 1, len(known)))
        mean[places] = distance[:, 1:].mean(axis=1)
    return mean


def k_center(embeddings: Vectors, labelled: Sequence[int], budget: int) -> list[int]:
    """Core-set: again and again the image that is farthest from all labelled or chosen ones.

    The greedy algorithm of Sener and Savarese, *Active Learning for Convolutional Neural Networks: A
    Core-Set Approach*, 2018. It is CoreSet of scikit-activeml (a test holds them equal), without that
    library, because it is among the strategies that are compared by default.

    Args:
        embeddings: (N, D); rows with NaN were never computed and come last.
        labelled: positions that are labelled already; at least one.
        budget: images wanted, at most as many as are left.

    Returns:
        Positions in the order chosen.

    Raises:
        BudgetError: budget exceeds what is left.
    """
    from scipy.spatial.distance import cdist

    check_budget(budget, len(embeddings) - len(set(labelled)))
    # A copy of a labelled image is still another image, and one without a vector is not a labelled one.
    unknown, taken = np.flatnonzero(np.isnan(embeddings).any(axis=1)), -2
    known = np.setdiff1d(np.asarray(labelled, dtype=np.int64), unknown)
    nearest = cdist(embeddings, embeddings[known]).min(axis=1, initial=np.inf)
    nearest[unknown] = -1
    nearest[list(labelled)] = taken
    chosen: list[int] = []
    for _ in range(budget):
        best = int(np.argmax(nearest))
        chosen.append(best)
        nearest = np.fmin(nearest, cdist(embeddings, embeddings[[best]])[:, 0])
        nearest[best] = taken
    return chosen
