"""The strategy `mixed`: several criteria share a batch, by rehearsal and by what they found.

Pixel novelty misses classes that change the whole image, image novelty misses small objects, and a
class that was just labelled for the first time is best searched for directly. Nothing tells
beforehand which criterion will find the next rare class, so each gets a share and earns more.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unseen.ranking import criteria
from unseen.ranking.candidates import Candidates, Criterion
from unseen.ranking.feature_space import Floats
from unseen.ranking.rehearsal import Rehearsal
from unseen.ranking.selection import Indices, alternate, check_budget

#: The features' part of the search without a rehearsal, which is also the most they get, and the least.
FEATURES_SHARE = 0.7
FEWEST_FEATURES = 0.3
#: The part of the batch for a class that was just found: without a rehearsal, least and most.
NEW_CLASS_SHARE = 0.6
NEW_CLASS_BOUNDS = (0.2, 0.8)
#: A rehearsal counts as much as this many labelled images.
REHEARSAL_WEIGHT = 4


def _discover() -> dict[str, Criterion]:
    modules = pkgutil.iter_modules(criteria.__path__, f"{criteria.__name__}.")
    declared = [importlib.import_module(m.name).CRITERION for m in modules]
    return {c.name: c for c in sorted(declared, key=lambda c: (c.order, c.name))}


#: Criterion by name; the position is the number in `MixedBatch.source`.
CRITERIA: dict[str, Criterion] = _discover()


class MixedBatch(NamedTuple):
    """A batch in the order to label."""

    order: Indices  #: (budget,) positions in the pool
    source: Indices  #: (budget,) the position in `CRITERIA` of the criterion that chose each
    shares: dict[str, float]  #: criterion -> its part of the batch; they add up to 1


class History(NamedTuple):
    """What the images of earlier batches turned out to hold, per criterion in order of `CRITERIA`."""

    found: npt.NDArray[np.int64]  #: (C,) labelled images that held what was looked for
    tried: npt.NDArray[np.int64]  #: (C,) labelled images

    @classmethod
    def none(cls) -> History:
        """Before the first batch."""
        return cls(*np.zeros((2, len(CRITERIA)), dtype=np.int64))


def mixed(pool: Candidates, budget: int, *, history: History, rehearsal: Rehearsal) -> MixedBatch:
    """Divide a batch between the criteria.

    They choose one after the other, and images already chosen count as known for the next, so that
    two criteria do not spend their images on the same kind. In the rank order their images then
    take turns. What a criterion cannot fill goes to the others, and in the end to any image left.
    Raises `BudgetError` if the budget exceeds the pool.
    """
    check_budget(budget, len(pool))
    names = list(CRITERIA)
    has_images = [budget > 0 and c.has_images(pool) for c in CRITERIA.values()]
    shares = batch_shares(np.asarray(has_images), history, rehearsal)
    quota = dict(zip(names, turns(shares, budget), strict=True))
    chosen: dict[str, Indices] = {name: np.zeros(0, dtype=np.int64) for name in names}
    taken = np.zeros(0, dtype=np.int64)
    for is_second_round in (False, True):
        for name in sorted(names, key=lambda name: CRITERIA[name].share != "found"):
            count = budget - len(taken) if is_second_round else quota[name]
            if count:
                rest, left = pool.after(taken)
                images = left[CRITERIA[name].choose(rest, count)]
                chosen[name] = np.concatenate([chosen[name], images])
                taken = np.concatenate([taken, images])
    order, source = alternate(chosen.values(), [len(o) for o in chosen.values()], budget)
    # Nothing is known of these: they come last, in the order of the pool.
    unknown = np.setdiff1d(np.arange(len(pool)), taken)[: budget - len(taken)]
    order, source = np.concatenate([order, unknown]), np.pad(source, (0, len(unknown)))
    return MixedBatch(order, source, dict(zip(names, shares.tolist(), strict=True)))


def turns(shares: npt.ArrayLike, budget: int) -> list[int]:
    """How many of the images each criterion chooses by its share (C,) >= 0; see `alternate`."""
    count = np.size(shares)
    endless = np.arange(count * budget).reshape(count, budget)
    counts: list[int] = np.bincount(alternate(endless, shares, budget)[1], minlength=count).tolist()
    return counts


def batch_shares(
    has_images: npt.NDArray[np.bool_], history: History, rehearsal: Rehearsal
) -> Floats:
    """The part of the batch that each criterion gets: (C,) that add up to 1, or 0 without images.

    Of the search for the unknown, features get as much as the AUROC with which they tell held-back
    classes in the rehearsal, within bounds, and pixels the rest; each part is multiplied by the
    earned share. A class that was just found gets the chance that an image chosen for it holds it:
    2 AUROC - 1 by the rehearsal of recognition, updated by what was really found.
    """
    declared = list(CRITERIA.values())
    is_found = np.asarray([c.share == "found" for c in declared])
    total = {c.share: sum(d.weight for d in declared if d.share == c.share) for c in declared}
    part = np.asarray([c.weight / total[c.share] for c in declared])
    novelty = FEATURES_SHARE if rehearsal.novelty is None else rehearsal.novelty
    by_features = min(FEATURES_SHARE, max(FEWEST_FEATURES, novelty))
    base = {"pixels": 1 - by_features, "features": by_features, "found": 0}
    search = ~is_found
    searched = part[search] * [base[c.share] for c in declared if c.share != "found"]
    searched = searched * earned_shares(history.found[search], history.tried[search])
    searched = searched * has_images[search]
    shares = np.zeros(len(declared))
    if has_images[is_found].any():
        recognition = rehearsal.recognition
        chance = NEW_CLASS_SHARE if recognition is None else 2 * recognition - 1
        found, tried = history.found[is_found].sum(), history.tried[is_found].sum()
        chance = (REHEARSAL_WEIGHT * chance + found) / (REHEARSAL_WEIGHT + tried)
        chance = min(NEW_CLASS_BOUNDS[1], max(NEW_CLASS_BOUNDS[0], float(chance)))
        shares[is_found] = chance * part[is_found] * has_images[is_found]
    if searched.any():
        shares[search] = (1 - shares.sum()) * searched / searched.sum()
    return np.asarray(shares / max(shares.sum(), 1e-30))


def earned_shares(found: npt.NDArray[np.int64], tried: npt.NDArray[np.int64]) -> Floats:
    """How to divide the next batch, by what each criterion's images turned out to hold.

    Proportional to the odds that an image of the criterion held something rare, with one success
    and one failure added (Laplace's rule of succession). A criterion that was never tried counts as
    much as the best that was, and none ever gets nothing: the next rare class may be of its kind.
    Takes (C,) successes and trials, and returns (C,) > 0 that add up to 1.
    """
    odds = (found + 1) / (tried - found + 1)
    if tried.any():
        odds[tried == 0] = odds[tried > 0].max()
    return np.asarray(odds / odds.sum())


def trust_sentence(shares: dict[str, float], rehearsal: Rehearsal, count: int) -> str:
    """What was rehearsed, and how a batch of `count` images is divided by it."""
    images = dict.fromkeys(("pixels", "features", "found"), 0.0)
    for name, share in shares.items():
        images[CRITERIA[name].share] += count * share
    measured = []
    if rehearsal.novelty is not None:
        measured.append(f"separate held-back classes with {rehearsal.novelty:.2f}")
    if rehearsal.recognition is not None:
        measured.append(f"recognise one from a single image with {rehearsal.recognition:.2f}")
    told = "Nothing could be rehearsed, as too few labelled images lack a class"
    if measured:
        told = f"Features {' and '.join(measured)} (AUROC, .5 is chance)"
    parts = [
        f"{images['features']:.0f} of {count} images by features",
        f"{images['pixels']:.0f} by pixels",
    ]
    if images["found"]:
        parts.append(f"{images['found']:.0f} for classes that were just found")
    return f"{told}: {', '.join(parts)}."
