"""What the package is measured against: vectors per image, and the core-set ranking by them.

Uniqueness and representativeness are FiftyOne Brain's own functions (`dataset.brain`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unseen.benchmark.pools import Pool
from unseen.errors import CheckpointError
from unseen.images import read_image
from unseen.science.image_statistics import image_statistics, standardised

Vectors = npt.NDArray[np.float64]


def simple_embeddings(pool: Pool) -> Vectors:
    """(N, 41) intensity, gradient and block statistics of each image, standardised over the pool."""
    return standardised(np.stack([image_statistics(read_image(f.path)) for f in pool.files]))


def pretrained_embeddings(pool: Pool, device: str) -> Vectors:
    """(N, 2048) mean features of torchvision's ResNet-50, as its Faster R-CNN was trained on COCO.

    Raises:
        CheckpointError: the weights are not there and cannot be downloaded.
    """
    import torch

    from unseen.science.devices import resolve_device
    from unseen.science.pretrained_features import pretrained_backbone, pretrained_features

    model, message = pretrained_backbone()
    if model is None:
        raise CheckpointError(
            f"pretrained embeddings are not to be had: {message}. Leave out the strategies with "
            ":pretrained, or copy the weights there"
        )
    where = resolve_device(device)
    model = model.to(where)
    rows = []
    for file in pool.files:
        image = torch.from_numpy(read_image(file.path, channels=3).transpose(2, 0, 1))[None]
        rows.append(pretrained_features(model, image.to(where))[0].float().cpu().numpy())
    return np.asarray(np.stack(rows), dtype=np.float64)


def neighbour_distance(embeddings: Vectors, count: int = 3) -> npt.NDArray[np.float64]:
    """(N,) mean distance of each image to its nearest neighbours in the pool; higher = more unlike.

    The plain form of what Brain's uniqueness is a variant of: that one compares directions only, and
    (in 1.22) does not sort the neighbours that it weighs.

    Args:
        embeddings: (N, D).
        count: neighbours, at most N - 1 are there.
    """
    from scipy.spatial import cKDTree

    found = min(count + 1, len(embeddings))
    distance, _ = cKDTree(embeddings).query(embeddings, k=found)
    return np.asarray(np.reshape(distance, (len(embeddings), -1))[:, 1:].mean(axis=1))


def k_center(embeddings: Vectors, labelled: Sequence[int], budget: int) -> list[int]:
    """Core-set: again and again the image that is farthest from all labelled or chosen ones.

    The greedy algorithm of Sener and Savarese, *Active Learning for Convolutional Neural Networks: A
    Core-Set Approach*, 2018.

    Args:
        embeddings: (N, D).
        labelled: positions that are labelled already; at least one.
        budget: images wanted, at most as many as are left.

    Returns:
        Positions in the order chosen.
    """
    from scipy.spatial.distance import cdist

    nearest = cdist(embeddings, embeddings[list(labelled)]).min(axis=1)
    nearest[list(labelled)] = -1  # a copy of a labelled image is still another image
    chosen: list[int] = []
    for _ in range(budget):
        best = int(np.argmax(nearest))
        chosen.append(best)
        nearest = np.minimum(nearest, cdist(embeddings, embeddings[[best]])[:, 0])
        nearest[chosen] = -1
    return chosen
