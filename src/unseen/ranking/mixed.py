"""The strategy `mixed`: several criteria share a batch, by what was rehearsed and what was found.

Pixels find objects on calm surfaces, features whole images of another kind, and features of single
patches more of a class that was just labelled for the first time. None finds everything, and nothing
tells beforehand which one will; so each gets a share, and earns more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError
from unseen.ranking.criteria.contract import Candidates, Criterion
from unseen.ranking.criteria.coverage import coverage
from unseen.ranking.criteria.new_class import new_class
from unseen.ranking.criteria.novelty import novelty
from unseen.ranking.criteria.pixel import pixel
from unseen.ranking.criteria.rehearsal import Rehearsal
from unseen.ranking.criteria.sharing import alternate, earned_shares
from unseen.ranking.selection import Indices, check_budget

#: What an image of the batch may be chosen for; the position is the number in `MixedBatch.source`.
CRITERIA: dict[str, Criterion] = {
    "pixel": pixel,
    "novelty": novelty,
    "coverage": coverage,
    "new_class": new_class,
}
#: Who chooses first: those that know what they look for.
CHOOSING_ORDER = ("new_class", "pixel", "novelty", "coverage")
#: Without a rehearsal features get this share of what is searched, and never more than that.
FEATURES_SHARE = 0.7
FEWEST_FEATURES = 0.3
#: How the share of the features is divided.
WITHIN_FEATURES = {"novelty": 2 / 7, "coverage": 5 / 7}
#: What a class that was just found gets of the batch: without a rehearsal, at least, at most.
NEW_CLASS_SHARE = 0.6
NEW_CLASS_BOUNDS = (0.2, 0.8)
#: A rehearsal counts as much as so many images that were labelled.
REHEARSAL_WEIGHT = 4


class MixedBatch(NamedTuple):
    """A batch, in the order to label."""

    order: Indices  #: (budget,) positions in the pool
    source: Indices  #: (budget,) the position in `CRITERIA` of what each was chosen for
    shares: dict[str, float]  #: criterion -> its part of the batch; they add up to 1


@dataclass(frozen=True)
class History:
    """What the criteria's images turned out to hold, in the order of `CRITERIA`.

    Attributes:
        found: (C,) labelled images of earlier batches that held what was looked for.
        tried: (C,) labelled images of earlier batches.
    """

    found: npt.NDArray[np.int64]
    tried: npt.NDArray[np.int64]

    @classmethod
    def none(cls) -> History:
        """Before the first batch."""
        return cls(*np.zeros((2, len(CRITERIA)), dtype=np.int64))


def mixed(pool: Candidates, budget: int, *, history: History, rehearsal: Rehearsal) -> MixedBatch:
    """Divide a batch between the criteria.

    One after the other chooses, and what is chosen counts as known for the next: three criteria must
    not spend their images on the same kind. Their images then take turns in the rank order. What a
    criterion cannot fill goes to the others, and in the end to whatever is left.

    Args:
        pool: the images to choose from.
        budget: images wanted.
        history: of earlier batches.
        rehearsal: on what is labelled.

    Raises:
        BudgetError: budget > N.
        ShapeError: the history is not of these criteria.
    """
    check_budget(budget, len(pool))
    names = list(CRITERIA)
    first = [len(CRITERIA[name](pool, min(1, budget))) > 0 for name in names]
    shares = batch_shares(np.asarray(first), history, rehearsal)
    quota = dict(zip(names, turns(shares, budget), strict=True))
    chosen: dict[str, Indices] = {name: np.zeros(0, dtype=np.int64) for name in names}
    taken = np.zeros(0, dtype=np.int64)
    for is_second_round in (False, True):
        for name in CHOOSING_ORDER:
            count = budget - len(taken) if is_second_round else quota[name]
            if count:
                rest, left = pool.after(taken)
                found = left[CRITERIA[name](rest, count)]
                chosen[name] = np.concatenate([chosen[name], found])
                taken = np.concatenate([taken, found])
    orders = [chosen[name] for name in names]
    order, source = np.zeros((2, 0), dtype=np.int64)
    if len(taken):
        order, source = alternate(orders, [float(len(o)) for o in orders], len(taken))
    # Of these nothing is known: they come last, in the order of the pool.
    unknown = np.setdiff1d(np.arange(len(pool)), taken)[: budget - len(taken)]
    order = np.concatenate([order, unknown]).astype(np.int64)
    source = np.concatenate([source, np.zeros(len(unknown), dtype=np.int64)])
    return MixedBatch(order, source, dict(zip(names, shares.tolist(), strict=True)))


def turns(shares: npt.ArrayLike, budget: int) -> list[int]:
    """How many of the images each criterion chooses: Webster's method, as in `alternate`.

    Args:
        shares: (C,) >= 0; without any above 0 nobody has a turn.
        budget: images.
    """
    weight = np.asarray(shares, dtype=np.float64)
    taken = np.zeros(len(weight), dtype=np.int64)
    for _ in range(budget if weight.any() else 0):
        taken[int(np.argmax(weight / (2 * taken + 1)))] += 1
    return [int(count) for count in taken]


def batch_shares(
    has_something: npt.NDArray[np.bool_], history: History, rehearsal: Rehearsal
) -> npt.NDArray[np.float64]:
    """Which part of the batch each criterion gets.

    Of what is searched, features get as much as the AUROC with which they tell held-back classes in
    the rehearsal, within bounds, and pixels the rest; each is multiplied by its earned share. A class
    that was just found gets the chance that an image chosen for it holds it: 2 AUROC - 1 by the
    rehearsal of recognition, and with each image labelled what was really found.

    Args:
        has_something: (C,) whether the criterion has an image to offer.
        history: of earlier batches.
        rehearsal: on what is labelled.

    Returns:
        (C,) float64 >= 0 that add up to 1, in the order of `CRITERIA`.

    Raises:
        ShapeError: the arguments are not of these criteria.
    """
    names = list(CRITERIA)
    if not len(has_something) == len(history.found) == len(history.tried) == len(names):
        raise ShapeError(
            f"{len(has_something)} criteria, and a history of {len(history.found)}; expected "
            f"{len(names)}: {', '.join(names)}"
        )
    told = rehearsal.novelty
    by_features = (
        FEATURES_SHARE if told is None else min(FEATURES_SHARE, max(FEWEST_FEATURES, told))
    )
    base = {"pixel": 1 - by_features}
    base |= {name: by_features * part for name, part in WITHIN_FEATURES.items()}
    search = [names.index(name) for name in base]
    earned = earned_shares(history.found[search], history.tried[search])
    part = np.asarray(list(base.values())) * earned * has_something[search]
    shares = np.zeros(len(names))
    place = names.index("new_class")
    if has_something[place]:
        told = rehearsal.recognition
        chance = NEW_CLASS_SHARE if told is None else 2 * told - 1
        tried = history.tried[place]
        chance = (REHEARSAL_WEIGHT * chance + history.found[place]) / (REHEARSAL_WEIGHT + tried)
        shares[place] = min(NEW_CLASS_BOUNDS[1], max(NEW_CLASS_BOUNDS[0], float(chance)))
    if part.any():
        shares[search] = (1 - shares[place]) * part / part.sum()
    return np.asarray(shares / max(shares.sum(), 1e-30))


def sought_classes(wanted: npt.ArrayLike, labelled: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """What counts as a find in the batch that is being chosen: wanted classes, and unknown ones.

    Args:
        wanted: (K,) of `new_class.wanted_classes`.
        labelled: (K,) labelled boxes; 0 for a class that nobody has labelled yet.
    """
    return np.asarray((np.asarray(wanted) > 0) | (np.asarray(labelled) == 0))
