"""Peers of the package: embeddings of whole images, and rankings by them.

Uniqueness and representativeness are FiftyOne Brain's own (`dataset.brain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from unseen.arrays.devices import resolve_device
from unseen.arrays.image_statistics import image_statistics, standardised
from unseen.arrays.images import read_image
from unseen.benchmark.pools import Pool
from unseen.errors import ImageError
from unseen.ranking.feature_space import farthest_first
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.selection import Indices, check_budget

Vectors = npt.NDArray[np.float64]


def simple_embeddings(pool: Pool) -> Vectors:
    """(N, 41) statistics of intensity, gradient and blocks, standardised over the pool."""
    return standardised(
        np.stack(
            [image_statistics(read_image(f.path, value_range=pool.value_range)) for f in pool.files]
        )
    )


def pretrained_embeddings(pool: Pool, device: str, folder: Path) -> Vectors:
    """(N, V) pretrained features, standardised over the pool and cached in a folder.

    Raises `CheckpointError` for damaged weights, `ImageError` for an unreadable image.
    """
    backbone = find_backbone()[0].on(resolve_device(device))
    features = Features(backbone, folder, value_range=pool.value_range)
    vectors = features.vectors([file.path for file in pool.files])
    for message in features.failures.values():
        raise ImageError(message)
    return standardised(vectors)


def neighbour_distance(embeddings: Vectors) -> npt.NDArray[np.float64]:
    """(N,) mean distance of each image to its three nearest neighbours; NaN for NaN rows.

    Brain's uniqueness is a variant that compares directions only and (in 1.22) does not sort the
    neighbours it weighs.
    """
    rows = np.flatnonzero(~np.isnan(embeddings).any(axis=1))
    points = embeddings[rows]
    mean = np.full(len(embeddings), np.nan)
    if len(points) > 1:
        distance, _ = cKDTree(points).query(points, k=min(4, len(points)))
        mean[rows] = distance[:, 1:].mean(axis=1)
    return mean


def k_center(embeddings: Vectors, labelled: Sequence[int], budget: int) -> Indices:
    """Coreset: repeatedly the image farthest from all labelled and chosen ones.

    The greedy algorithm of Sener and Savarese, *Active Learning for Convolutional Neural Networks: A
    Core-Set Approach*, 2018; equal to CoreSet of scikit-activeml without the dependency. Takes (N, D)
    embeddings and returns (budget,) positions in the order chosen, images with NaN last. Raises
    `BudgetError` if the budget exceeds the unlabelled images.
    """
    left = np.setdiff1d(np.arange(len(embeddings)), labelled).astype(np.int64)
    check_budget(budget, len(left))
    rows = left[~np.isnan(embeddings[left]).any(axis=1)]
    chosen = rows[farthest_first(embeddings[rows], embeddings[list(labelled)], budget)]
    return np.concatenate([chosen, np.setdiff1d(left, rows)])[:budget]
