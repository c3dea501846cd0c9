"""Leave-one-class-out: how well pretrained features would have found the labelled classes.

One labelled class after the other is treated as unknown. `novelty`: are its images farther from the
others than those from each other? `recognition`: learned from a single one of its images, do the
rest stand out? Both are AUROCs. The unseen score is not rehearsed: its network has learned every
labelled class, and training one for each class left out would cost as much as everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.arrays.auroc import auroc
from unseen.ranking.feature_space import Floats
from unseen.ranking.patch_classes import Labels, learn_patch_classes

#: Examples of a class to try recognition with.
MOST_EXAMPLES = 2
#: A rehearsal needs at least this many images without the class.
FEWEST_OTHERS = 3


@dataclass(frozen=True)
class Rehearsal:
    """The result; None where the labels do not allow it."""

    novelty: float | None = None  #: AUROC of the distance to the nearest known image
    recognition: float | None = None  #: AUROC of the evidence for a class known from one image
    classes: int = 0  #: that could be left out


def rehearse(
    known: Floats,
    holds: npt.NDArray[np.bool_],
    patches: Sequence[Floats],
    labels: Sequence[Labels],
) -> Rehearsal:
    """Leave out one class after the other.

    Of L labelled images, known (L, D) holds the features (NaN rows are left out), holds (L, K) the
    classes, patches the whitened patches (P, d) of each (none if it has no features), and labels
    (P,) what those show, as of `patch_labels`.
    """
    usable = [i for i in range(len(known)) if not np.isnan(known[i]).any() and len(patches[i])]
    if not usable:
        return Rehearsal()
    points, shown = known[usable], holds[usable]
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    novelty: list[float] = []
    weights: list[int] = []
    recognition: list[float] = []
    for k in np.flatnonzero(shown.any(axis=0)):
        of, others = np.flatnonzero(shown[:, k]), np.flatnonzero(~shown[:, k])
        if len(others) < FEWEST_OTHERS:
            continue
        far = apart[np.ix_(of, others)].min(axis=1)
        near = apart[np.ix_(others, others)].min(axis=1)
        novelty.append(auroc(far, near) or 0.5)
        weights.append(min(len(of), 5))
        for example in of[:MOST_EXAMPLES] if len(of) > 1 else ():
            taught = [usable[i] for i in (example, *others[::2])]
            learned = learn_patch_classes([patches[i] for i in taught], [labels[i] for i in taught])
            if learned.knows(int(k) + 1):
                right, wrong = (
                    np.asarray([learned.evidence(patches[usable[i]], int(k) + 1) for i in part])
                    for part in ([i for i in of if i != example], others[1::2])
                )
                area = auroc(right, wrong)
                recognition += [] if area is None else [area]
    return Rehearsal(
        float(np.average(novelty, weights=weights)) if novelty else None,
        float(np.mean(recognition)) if recognition else None,
        len(novelty),
    )
