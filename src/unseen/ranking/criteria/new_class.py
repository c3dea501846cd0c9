"""More of a class that was just found, and of which there is little."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError
from unseen.ranking.criteria.contract import Candidates, Floats
from unseen.ranking.criteria.sharing import alternate
from unseen.ranking.selection import Indices

#: The rarer a class, the more of its turns: shares go by 1 / prevalence to this power.
RARITY = 2.0


def new_class(pool: Candidates, count: int) -> Indices:
    """The images that look most like each wanted class, the classes taking turns.

    Args:
        pool: its `evidence` and `wanted`.
        count: positions wanted; none where no class is wanted.
    """
    shares = np.where(np.isnan(pool.evidence).all(axis=0), 0, pool.wanted)
    if not shares.any():
        return np.zeros(0, dtype=np.int64)
    orders = [_ranked(column) for column in pool.evidence.T]
    there = len(set().union(*(o.tolist() for o, s in zip(orders, shares, strict=True) if s > 0)))
    return alternate(orders, shares.tolist(), min(count, there))[0]


def wanted_classes(
    prevalence: npt.ArrayLike, labelled: npt.ArrayLike, initial: npt.ArrayLike
) -> Floats:
    """How much of each class is wanted: those that the initial images did not show, the rarest most.

    A class that the first images show needs no search. Of the new ones those are sought that are rarer
    than the labelled classes are on average, by how many images of the pool seem to hold them - not by
    how many are labelled, which says what was looked for.

    Args:
        prevalence: (K,) share of all images that seem to hold the class (`prevalence`).
        labelled: (K,) labelled boxes.
        initial: (K,) those of them in the initial images.

    Returns:
        (K,) float64 >= 0 that add up to 1, or all 0.

    Raises:
        ShapeError: the arguments are not equally long.
    """
    share, boxes, first = (
        np.asarray(v, dtype=np.float64).reshape(-1) for v in (prevalence, labelled, initial)
    )
    if not len(share) == len(boxes) == len(first):
        raise ShapeError(
            f"there are {len(share)} shares, {len(boxes)} labelled counts and {len(first)} initial "
            "ones; expected one of each per class"
        )
    is_known = boxes > 0
    if not is_known.any():
        return np.zeros(len(share))
    is_sought = is_known & (first == 0) & (share <= share[is_known].mean())
    weight = np.where(is_sought, np.maximum(share, 1e-3) ** -RARITY, 0)
    return np.asarray(weight / max(weight.sum(), 1e-30))


def prevalence(space: Floats, known: Floats, holds: npt.NDArray[np.bool_]) -> Floats:
    """The share of all images that seem to hold each class: those whose nearest labelled image does.

    Args:
        space: (N, D) features of the pool; NaN rows are left out.
        known: (L, D) those of the labelled images; NaN rows are left out.
        holds: (L, K) which classes each labelled image shows.

    Returns:
        (K,) float64 in [0, 1].
    """
    there = ~np.isnan(known).any(axis=1)
    points, known, holds = space[~np.isnan(space).any(axis=1)], known[there], holds[there]
    if not len(known):
        return np.zeros(holds.shape[1])
    nearest = np.zeros(len(points), dtype=np.int64)
    best = np.full(len(points), np.inf)
    for number, row in enumerate(known):
        distance = ((points - row) ** 2).sum(axis=1)
        nearest[distance < best] = number
        best = np.minimum(best, distance)
    total = holds.sum(axis=0) + holds[nearest].sum(axis=0)
    return np.asarray(total / (len(points) + len(known)))


def _ranked(evidence: Floats) -> Indices:
    there = np.flatnonzero(~np.isnan(evidence))
    return there[np.argsort(-evidence[there], kind="stable")].astype(np.int64)
