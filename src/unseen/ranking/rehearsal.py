"""How well pretrained features would have found what is labelled, without a further label.

One labelled class after the other is taken for unknown. `novelty`: do its images lie farther from the
others than those from each other? `recognition`: learned from a single one of its images, do the rest
stand out? Both are AUROCs: .5 is chance, 1 perfect. The pixel score is not rehearsed: its network has
learned every labelled class, and training one for each class left out costs as much as all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.arrays.auroc import auroc
from unseen.ranking.patch_classes import Floats, Labels, learn_patch_classes

#: Examples of a class that recognition is tried with; more would only cost time.
MOST_EXAMPLES = 2
#: Images without the class that a rehearsal needs at least.
FEWEST_OTHERS = 3


@dataclass(frozen=True)
class Rehearsal:
    """What was found out; None where the labels do not allow it.

    Attributes:
        novelty: AUROC of the distance to the nearest image that is taken for known.
        recognition: AUROC of the evidence for a class that is known from one image.
        classes: number of classes that could be left out.
    """

    novelty: float | None = None
    recognition: float | None = None
    classes: int = 0


def rehearse(
    known: Floats,
    holds: npt.NDArray[np.bool_],
    patches: Sequence[Floats],
    labels: Sequence[Labels],
) -> Rehearsal:
    """Leave out one class after the other.

    Args:
        known: (L, D) features of the labelled images; NaN rows are left out.
        holds: (L, K) which classes each shows.
        patches: per image (P, d) whitened patches; none for images without features.
        labels: per image (P,) of `patch_labels`.
    """
    there = [i for i in range(len(known)) if not np.isnan(known[i]).any() and len(patches[i])]
    points, shown = known[there], holds[there]
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2)) if there else points
    if there:
        np.fill_diagonal(apart, np.inf)
    novelty: list[tuple[float, int]] = []
    recognition: list[float] = []
    for k in np.flatnonzero(shown.any(axis=0)) if there else ():
        of, others = np.flatnonzero(shown[:, k]), np.flatnonzero(~shown[:, k])
        if len(others) < FEWEST_OTHERS:
            continue
        far = apart[np.ix_(of, others)].min(axis=1)
        near = apart[np.ix_(others, others)].min(axis=1)
        novelty.append((auroc(far, near) or 0.5, min(len(of), 5)))
        for example in of[:MOST_EXAMPLES] if len(of) > 1 else ():
            taught = [there[i] for i in (example, *others[::2])]
            learned = learn_patch_classes([patches[i] for i in taught], [labels[i] for i in taught])
            if learned.knows(int(k) + 1):
                right, wrong = (
                    np.asarray([learned.evidence(patches[there[i]], int(k) + 1) for i in part])
                    for part in ([i for i in of if i != example], others[1::2])
                )
                area = auroc(right, wrong)
                recognition += [] if area is None else [area]
    return Rehearsal(
        float(np.average([a for a, _ in novelty], weights=[n for _, n in novelty]))
        if novelty
        else None,
        float(np.mean(recognition)) if recognition else None,
        len(novelty),
    )
