"""Several rankings of the same pool -> one batch, and which of them to trust next time.

No single criterion finds every kind of rare class: pixel novelty misses what changes the whole
image, image-level novelty misses small objects. A batch that is split between them is never as good
as the better one, and never as bad as the worse one; labels then tell which was the better one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unseen.errors import ConfigError, ShapeError
from unseen.ranking.selection import check_budget

#: Classes with at most this part of an even share of the labelled boxes are rare (as in `trust`).
RARE_SHARE = 1 / 3


def alternate(
    orders: Sequence[npt.ArrayLike], shares: Sequence[float], budget: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Take the next best image of one ranking after the other, each as often as its share says.

    The turn goes to the ranking that is furthest behind its share; of equals, to the first. An image
    that was taken already is passed over, so that a ranking never loses its turn to another one.

    Args:
        orders: K rankings, each positions in the pool, best first; a short one drops out at its end.
        shares: (K,) >= 0, relative to each other; at least one above 0.
        budget: images wanted.

    Returns:
        (budget,) int64 positions in the order taken, and (budget,) int64 the number of the ranking
        that each was taken from.

    Raises:
        BudgetError: the rankings hold fewer different images than the budget.
        ConfigError: a share is negative, or all are 0.
        ShapeError: there are not as many shares as rankings.
    """
    queues = [np.asarray(order, dtype=np.int64).reshape(-1).tolist() for order in orders]
    weight = np.array(shares, dtype=np.float64).reshape(-1)  # a copy: what ends gets weight 0
    if len(weight) != len(queues):
        raise ShapeError(f"{len(queues)} rankings have {len(weight)} shares; expected as many")
    if not (weight >= 0).all() or not weight.any():
        raise ConfigError(f"shares {weight.tolist()}; expected numbers >= 0, not all of them 0")
    used = [q for q, w in zip(queues, weight, strict=True) if w > 0]
    check_budget(budget, len(set().union(*used)))
    taken = np.zeros(len(queues))
    chosen: list[int] = []
    source: list[int] = []
    is_chosen: set[int] = set()
    heads = [iter(queue) for queue in queues]
    while len(chosen) < budget:
        # Webster's method: after any number of turns the turns are as close to the shares as can be.
        turn = int(np.argmax(weight / (2 * taken + 1)))
        image = next((i for i in heads[turn] if i not in is_chosen), None)
        if image is None:
            weight[turn] = 0
            continue
        is_chosen.add(image)
        chosen.append(image)
        source.append(turn)
        taken[turn] += 1
    return np.asarray(chosen, dtype=np.int64), np.asarray(source, dtype=np.int64)


def earned_shares(found: npt.ArrayLike, tried: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How the next batch is divided, by what each criterion's images turned out to hold.

    In proportion to the odds that an image of the criterion held something rare, with one success
    and one failure added (Laplace's rule of succession). What was never tried counts as much as
    the best that was; no criterion ever gets nothing, because the next rare class may be of the
    other kind.

    Args:
        found: (K,) images that held a box of a class that was new and rare when they were chosen.
        tried: (K,) labelled images that the criterion chose.

    Returns:
        (K,) float64 > 0 that add up to 1.

    Raises:
        ShapeError: the arguments are not equally long.
        ConfigError: a number is negative, or more was found than tried.
    """
    hits = np.asarray(found, dtype=np.float64).reshape(-1)
    tries = np.asarray(tried, dtype=np.float64).reshape(-1)
    if hits.shape != tries.shape:
        raise ShapeError(f"{len(hits)} criteria found something, {len(tries)} were tried")
    if (hits < 0).any() or (hits > tries).any():
        raise ConfigError(
            f"found {hits.tolist()} of {tries.tolist()}; expected 0 <= found <= tried"
        )
    odds = (hits + 1) / (tries - hits + 1)
    if tries.any():
        odds[tries == 0] = odds[tries > 0].max()
    return np.asarray(odds / odds.sum())
