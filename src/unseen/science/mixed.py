"""The strategy `mixed`: four criteria share a batch, and earn their shares by what they find.

Pixels that were never seen find objects, texture finds what changes the whole image, the appearance of
single objects finds what hides among many that resemble it, and the expected examples of a new class
find more of what has just been labelled for the first time. `criteria` divides a batch between
rankings; here is which rankings those are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError
from unseen.science import novelty, selection
from unseen.science.criteria import alternate, earned_shares
from unseen.science.selection import Indices

#: What an image of the batch may be chosen for; the position is the number in `MixedBatch.source`.
CRITERIA = ("pixel", "texture", "object", "new_class")
#: A criterion that found something in this share of its images, and in so many at least, may go on
#: beyond the images that stand out.
PROVEN_SHARE, PROVEN_IMAGES = 0.5, 2


class MixedBatch(NamedTuple):
    """A batch, in the order to label."""

    order: Indices  #: (budget,) positions in the pool
    source: Indices  #: (budget,) the position in `CRITERIA` of what each was chosen for


def mixed(
    metric: npt.ArrayLike,
    texture: npt.ArrayLike,
    objects: npt.ArrayLike,
    new_metric: npt.ArrayLike,
    budget: int,
    *,
    found: npt.ArrayLike,
    tried: npt.ArrayLike,
    embed: Callable[[Indices], npt.ArrayLike],
) -> MixedBatch:
    """Divide a batch between the criteria, in proportion to what their images held so far.

    By pixels the images are chosen as `diverse` does; by texture only those that stand out from
    the pool, until that has proven its worth; by objects where the pool's objects are so alike
    that an unusual one means something (elsewhere their novelty is not known); by a new class only
    while there is one that is rare. What a criterion cannot fill goes to the others.

    Args:
        metric: (N,) image metric of the pool, from the unseen score of its pixels, >= 0.
        texture: (N,) novelty of the texture, >= 0; NaN where unknown.
        objects: (N,) novelty of the most unusual object, nats; NaN where there is none, or where
            it is not known.
        new_metric: (N,) see `criteria.new_class_metric`; all 0 where no class is new and rare.
        budget: images wanted.
        found: (4,) labelled images of earlier batches that held something new and rare.
        tried: (4,) labelled images of earlier batches, per criterion.
        embed: positions in the pool -> (M, D) features of these images; asked once, for the
            candidates of `diverse`.

    Raises:
        BudgetError: budget > N.
        ConfigError: found and tried do not fit each other.
        ShapeError: the arguments are not equally long.
    """
    by_pixel, by_texture, by_object, by_class = (
        np.asarray(values, dtype=np.float64).reshape(-1)
        for values in (metric, texture, objects, new_metric)
    )
    lengths = [len(by_pixel), len(by_texture), len(by_object), len(by_class)]
    if len(set(lengths)) > 1:
        raise ShapeError(
            f"there are {lengths[0]} metrics, {lengths[1]} and {lengths[2]} novelties and "
            f"{lengths[3]} metrics of new classes; expected one of each per image of the pool"
        )
    shares = earned_shares(found, tried)
    if len(shares) != len(CRITERIA):
        raise ShapeError(
            f"{len(shares)} criteria were tried; expected {len(CRITERIA)}: {', '.join(CRITERIA)}"
        )
    if not (by_class > 0).any():
        shares[CRITERIA.index("new_class")] = 0
    place = CRITERIA.index("texture")
    hits, tries = np.asarray(found).reshape(-1)[place], np.asarray(tried).reshape(-1)[place]
    is_proven = bool(hits >= PROVEN_IMAGES and hits >= PROVEN_SHARE * tries)
    near = selection.candidates(by_pixel, budget)
    spread = selection.diverse(by_pixel[near], embed(near), budget) if budget else near
    orders = (
        near[spread],
        _unusual(by_texture, novelty.stands_out(by_texture) | is_proven, budget),
        _unusual(by_object, ~np.isnan(by_object), budget),
        selection.plain(by_class, budget),
    )
    return MixedBatch(*alternate(orders, shares.tolist(), budget))


def _unusual(
    values: npt.NDArray[np.float64], is_allowed: npt.NDArray[np.bool_], budget: int
) -> Indices:
    """The most novel of the allowed images, the highest first."""
    there = np.flatnonzero(is_allowed & ~np.isnan(values))
    return there[selection.plain(values[there], min(budget, len(there)))]
