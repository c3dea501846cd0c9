"""Rankings of a pool: numbers per image -> ordered positions, best first. Pure functions.

A higher metric means label sooner, ties go to the earlier position, and NaN means never scored and
comes last. Every budget is refused with a BudgetError if it is above the number of images.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from unseen.errors import BudgetError

Indices = npt.NDArray[np.int64]

#: `diverse` chooses among this many times the budget.
CANDIDATES_PER_IMAGE = 3


def check_budget(budget: int, count: int) -> None:
    """Raise `BudgetError` for a negative budget and for one above `count`, the pool's size."""
    if not 0 <= budget <= count:
        raise BudgetError(
            f"budget {budget}; expected 0 to {count}, the number of unlabelled images. Lower it, "
            "or widen the view"
        )


def plain(metric: npt.ArrayLike, budget: int) -> Indices:
    """The positions of the `budget` images with the highest metric (N,)."""
    values = np.asarray(metric, dtype=np.float64).reshape(-1)
    check_budget(budget, len(values))
    keys = np.where(np.isnan(values), -np.inf, values)
    # lexsort: the last key decides first; scored before unscored also where a metric is -inf.
    return np.lexsort((-keys, np.isnan(values)))[:budget].astype(np.int64)


def candidates(metric: npt.ArrayLike, budget: int) -> Indices:
    """The 3 x budget best images (or all), for which `diverse` needs embeddings."""
    count = np.size(metric)
    check_budget(budget, count)
    return plain(metric, min(count, CANDIDATES_PER_IMAGE * budget))


def diverse(metric: npt.ArrayLike, embeddings: npt.ArrayLike, budget: int) -> Indices:
    """Novel images, but not the same novelty over and over.

    Starts with the highest metric (M,) >= 0 of the candidates, then adds the image with the highest
    metric x distance to the nearest image chosen so far. In the embeddings (M, D), NaN rows (never
    embedded) count as distance 0. Returns (budget,) positions within the candidates.
    """
    values = np.asarray(metric, dtype=np.float64).reshape(-1)
    points = np.asarray(embeddings, dtype=np.float64)
    check_budget(budget, len(values))
    # Ties are common (duplicates have distance 0 whatever their metric) and go by rank.
    rank = np.argsort(plain(values, len(values)))
    weight = np.nan_to_num(values, nan=0.0)
    distance = np.full(len(values), np.inf)
    is_left = np.ones(len(values), dtype=bool)
    chosen: list[int] = []
    for _ in range(budget):
        # The product with infinity would hide the metric, so the first choice is by rank alone.
        gain = weight * distance if chosen else weight
        left = np.flatnonzero(is_left)
        best = int(left[np.lexsort((rank[left], -gain[left]))[0]])
        chosen.append(best)
        is_left[best] = False
        to_best = np.sqrt(((points - points[best]) ** 2).sum(axis=1))
        distance = np.minimum(distance, np.nan_to_num(to_best, nan=0.0))
    return np.asarray(chosen, dtype=np.int64)


def balanced(
    expected_counts: npt.ArrayLike, labelled_counts: npt.ArrayLike, budget: int
) -> Indices:
    """Images that fill up the classes with few labels.

    Greedily maximises the sum over classes of log(n_c + 1), where n_c counts the labelled examples
    (K,) and those expected in the images chosen so far, of (N, K) >= 0. The class `unseen` is one
    of the K, with 0 labels. Returns (budget,) positions in the order chosen.
    """
    counts = np.asarray(expected_counts, dtype=np.float64)
    present = np.asarray(labelled_counts, dtype=np.float64).reshape(-1)
    check_budget(budget, len(counts))
    is_scored = ~np.isnan(counts).any(axis=1)
    counts = np.where(np.expand_dims(is_scored, 1), counts, 0)
    chosen: list[int] = []
    for _ in range(budget):
        gain = np.log1p(counts / (present + 1)).sum(axis=1)
        gain[~is_scored] = -1  # less than nothing
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))  # the first of equals
        chosen.append(best)
        present = present + counts[best]
    return np.asarray(chosen, dtype=np.int64)


def balanced_candidates(
    expected_counts: npt.ArrayLike, labelled_counts: npt.ArrayLike, most: int
) -> Indices:
    """The images that `balanced` chooses among where there are more than `most`.

    Of (N, K) >= 0, half of them have the highest gain; the others are, in equal parts, those with the
    most expected examples of each class. Returns ascending positions, at least `most` / 2. What is a
    candidate among all images is one among any of them.
    """
    counts = np.nan_to_num(np.asarray(expected_counts, dtype=np.float64), nan=-1.0)
    if len(counts) <= most:
        return np.arange(len(counts))
    present = np.asarray(labelled_counts, dtype=np.float64).reshape(-1)
    gain = np.log1p(counts.clip(0) / (present + 1)).sum(axis=1)
    of_class = most // (2 * len(counts.T))
    best = [plain(values, of_class) for values in counts.T]
    return np.unique(np.concatenate([plain(gain, most - of_class * len(best)), *best]))


def alternate(
    orders: Iterable[npt.ArrayLike], shares: npt.ArrayLike, budget: int
) -> tuple[Indices, Indices]:
    """The next best image of one ranking after the other, each as often as its share says.

    Webster's method: the turn goes to the ranking that is furthest behind its share, of equals to
    the first. A ranking passes over images that are taken already, so that it never loses its turn,
    and drops out when it ends. `orders` are C rankings, best first, and `shares` (C,) >= 0 relative
    to each other. Returns the positions taken, at most `budget`, and the ranking of each.
    """
    weight = np.array(shares, dtype=np.float64)  # a copy: a ranking that ends gets weight 0
    queues = [iter(np.asarray(order, dtype=np.int64).tolist()) for order in orders]
    turns = np.zeros(len(weight))
    taken: dict[int, int] = {}  # position -> ranking
    while len(taken) < budget and weight.any():
        ranking = int(np.argmax(weight / (2 * turns + 1)))
        image = next((i for i in queues[ranking] if i not in taken), None)
        if image is None:
            weight[ranking] = 0
        else:
            taken[image] = ranking
            turns[ranking] += 1
    return np.array([*taken], dtype=np.int64), np.array([*taken.values()], dtype=np.int64)
