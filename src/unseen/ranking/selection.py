"""Numbers per image -> the next batch. Pure: arrays in, ordered indices out, best first.

Everywhere: a higher metric means label sooner, ties go to the earlier position, NaN means never
scored and comes last.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unseen.errors import BudgetError, ConfigError, ShapeError

Indices = npt.NDArray[np.int64]

#: `diverse` chooses among this many times the budget.
CANDIDATES_PER_IMAGE = 3


def plain(metric: npt.ArrayLike, budget: int) -> Indices:
    """The `budget` images with the highest metric.

    Args:
        metric: (N,).
        budget: images wanted.

    Returns:
        (budget,) int64 positions.

    Raises:
        BudgetError: budget > N.
    """
    values = np.asarray(metric, dtype=np.float64).reshape(-1)
    check_budget(budget, len(values))
    keys = np.where(np.isnan(values), -np.inf, values)
    # lexsort: the last key decides first; scored before unscored also where a metric is -inf.
    return np.lexsort((-keys, np.isnan(values)))[:budget].astype(np.int64)


def candidates(metric: npt.ArrayLike, budget: int) -> Indices:
    """The 3 x budget best images (or all), for which `diverse` needs embeddings."""
    values = np.asarray(metric, dtype=np.float64).reshape(-1)
    check_budget(budget, len(values))
    return plain(values, min(len(values), CANDIDATES_PER_IMAGE * budget))


def diverse(metric: npt.ArrayLike, embeddings: npt.ArrayLike, budget: int) -> Indices:
    """Novel, but not the same novelty over and over.

    Starts with the highest metric, then adds the image with the highest metric x distance to the
    nearest image chosen so far.

    Args:
        metric: (M,) of the candidates, >= 0.
        embeddings: (M, D) of the candidates; NaN rows (never embedded) count as distance 0.
        budget: images wanted.

    Returns:
        (budget,) int64 positions within the candidates, in the order chosen.

    Raises:
        BudgetError: budget > M.
        ShapeError: metric and embeddings are not equally many.
    """
    values = np.asarray(metric, dtype=np.float64).reshape(-1)
    points = np.asarray(embeddings, dtype=np.float64)
    check_budget(budget, len(values))
    if points.ndim != 2 or len(points) != len(values):
        raise ShapeError(
            f"{len(values)} candidates have embeddings of shape {points.shape}; expected "
            f"({len(values)}, D)"
        )
    # A rank for ties, which are common: duplicates have distance 0 whatever their metric.
    rank = np.empty(len(values), dtype=np.int64)
    rank[plain(values, len(values))] = np.arange(len(values))
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
    """Fill up the classes of which there are few.

    Greedily maximises the sum over classes of log(n_c + 1), where n_c counts the labelled examples
    and those expected in the images chosen so far.

    Args:
        expected_counts: (N, K) expected examples per image and class, >= 0 (`unseen` among them).
        labelled_counts: (K,) labelled examples per class; 0 for `unseen`.
        budget: images wanted.

    Returns:
        (budget,) int64 positions, in the order chosen.

    Raises:
        BudgetError: budget > N.
        ShapeError: the arguments do not fit each other.
    """
    counts = np.asarray(expected_counts, dtype=np.float64)
    present = np.asarray(labelled_counts, dtype=np.float64).reshape(-1)
    if counts.ndim != 2 or counts.shape[1] != len(present):
        raise ShapeError(
            f"expected counts have shape {counts.shape} and there are {len(present)} labelled "
            "counts; expected (N, K) and (K,)"
        )
    check_budget(budget, len(counts))
    is_scored = ~np.isnan(counts).any(axis=1)
    counts = np.where(np.expand_dims(is_scored, 1), counts, 0)
    # Unscored images gain less than nothing; chosen ones are out for good.
    bounds = np.where(is_scored, np.inf, -1.0)
    chosen: list[int] = []
    for _ in range(budget):
        best = _best_gain(counts, present, bounds)
        chosen.append(best)
        present = present + counts[best]
        bounds[best] = -np.inf
    return np.asarray(chosen, dtype=np.int64)


def random(count: int, budget: int, rng: np.random.Generator) -> Indices:
    """`budget` of `count` images, all equally likely.

    Raises:
        BudgetError: budget > count.
    """
    check_budget(budget, count)
    return rng.permutation(count)[:budget].astype(np.int64)


def sequential(count: int, budget: int) -> Indices:
    """The first `budget` of `count` images, as a labeller without help would go.

    Raises:
        BudgetError: budget > count.
    """
    check_budget(budget, count)
    return np.arange(budget, dtype=np.int64)


def mix_random(
    order: npt.ArrayLike, count: int, *, share: float, rng: np.random.Generator
) -> Indices:
    """Replace the end of a batch by random images from the rest of the pool.

    Args:
        order: (budget,) chosen positions, best first.
        count: images in the pool.
        share: of the batch to replace, in [0, 1]; rounded to whole images.
        rng: source of randomness.

    Returns:
        (budget,) int64: the best, in their order, then the random ones. What was replaced may be
        drawn again, so that the random ones are a fair sample of everything not kept.
    """
    chosen = np.asarray(order, dtype=np.int64).reshape(-1)
    check_budget(len(chosen), count)
    if not 0 <= share <= 1:
        raise ConfigError(f"random share {share!r}; expected a number from 0 to 1")
    replaced = int(np.floor(share * len(chosen) + 0.5))
    if not replaced:
        return chosen
    kept = chosen[: len(chosen) - replaced]
    rest = np.setdiff1d(np.arange(count, dtype=np.int64), kept)
    return np.concatenate([kept, rng.permutation(rest)[:replaced]])


def check_budget(budget: int, count: int) -> None:
    """Refuse a budget that the pool cannot serve.

    Raises:
        BudgetError: budget is negative or above count.
    """
    if not 0 <= budget <= count:
        raise BudgetError(
            f"budget {budget}; expected 0 to {count}, the number of unlabelled images. Lower it, "
            "or widen the view"
        )


def _best_gain(
    counts: npt.NDArray[np.float64],
    present: npt.NDArray[np.float64],
    bounds: npt.NDArray[np.float64],
) -> int:
    """The image that adds most to the sum of logs; `bounds` are updated in place.

    Gains only shrink as images are chosen, so an old gain is an upper bound, and only images whose
    bound reaches the best fresh gain need a new look.
    """
    fresh = np.zeros(len(bounds), dtype=bool)
    size = 256
    best = -np.inf
    while True:
        stale = np.flatnonzero(~fresh & (bounds >= max(best, 0)))
        if not stale.size:
            break
        if np.isposinf(bounds[stale]).any():
            looked_at = stale
        else:
            looked_at = stale[np.argsort(-bounds[stale], kind="stable")[:size]]
        gain = np.log1p(counts[looked_at] / (present + 1)).sum(axis=1)
        bounds[looked_at] = gain
        fresh[looked_at] = True
        best = max(best, float(gain.max()))
        size *= 2
    # argmax takes the first of equals; unscored images (-1) come after all scored ones (>= 0).
    return int(np.argmax(bounds))
