"""Which kinds of errors cost a detector most, on plain arrays.

Source: D. Bolya et al., *TIDE: A General Toolbox for Identifying Object Detection Errors*, 2020: the
kinds, in which order they are tried, and what it means to correct one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.arrays.boxes import overlapping
from unseen.detector.metrics import Matches, least_overlap, precisions

#: Overlap below which a prediction has nothing to do with a true box, as TIDE's.
BACKGROUND_IOU = 0.1
#: What can be wrong, by a word for records, and how people call it.
KINDS = {
    "class": "wrong class",
    "place": "badly placed",
    "both": "wrong class and badly placed",
    "duplicate": "found twice",
    "background": "nothing there",
    "missed": "missed",
}
CLASS, PLACE, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(KINDS))


@dataclass(frozen=True)
class DetectionErrors:
    """What is wrong with the predictions for a set of images; kinds by their place in KINDS."""

    kinds: npt.NDArray[np.int64]  #: (N,) of the predictions as given; -1: right, or does not count
    #: (classes, kinds) of confident predictions, by the class they gave, and what they miss
    counts: npt.NDArray[np.int64]
    costs: npt.NDArray[np.float64]  #: (kinds,) what AP, [0, 1], would gain without this kind


def detection_errors(matches: Matches, *, min_confidence: float = 0.5) -> DetectionErrors:
    """The kind of every false alarm, the objects nobody found, and what each kind costs.

    Costs are of all predictions, counts and `kinds` of those from `min_confidence` on. A false alarm
    is "place" if the object of its class that it overlaps most is overlapped by .1 or more, but too
    little; else "class" if it overlaps one of another class enough; else "duplicate" if one of its
    own that is taken; else "background" if it overlaps nothing by .1, or "both". An object is
    "missed" if no prediction took it, and none of "class" and "place" stands for it.

    The cost of a kind is the gain in mean AP if each of its errors were corrected alone: for "class"
    and "place" the most confident one for a free object is right, and the others are gone, as are
    those of other kinds; missed objects need not be found. A class of which nothing is left to find
    has AP 1. (TIDE says 0, so that a class that is never found would cost nothing.)
    """
    kinds, found = _kinds(matches)
    predicted, true = matches.predicted, matches.true
    is_sure = predicted.scores >= min_confidence

    def by_class(labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=matches.classes)

    def missed_by(places: np.ndarray) -> np.ndarray:
        is_missed = matches.is_object
        is_missed[places[places >= 0]] = False
        return by_class(true.label[is_missed])

    counts = np.stack(
        [by_class(predicted.label[is_sure & (kinds == k)]) for k in range(len(KINDS))]
    )
    counts[MISSED] = missed_by(found[is_sure])
    counted = matches.counts_for_ap
    labels, scores, of_kind = (v[counted] for v in (predicted.label, predicted.scores, kinds))
    found_label = np.append(true.label, -1)[found[counted]]
    objects, missed = by_class(true.label[matches.is_object]), missed_by(found)

    def mean_ap(without: int | None) -> float:
        is_kept = (of_kind != without) | (found_label >= 0)
        is_hit = is_kept & ((of_kind < 0) | (of_kind == without))
        shown = np.where(of_kind == without, found_label, labels)
        left = objects - (missed if without == MISSED else 0)
        values = []
        for label in np.flatnonzero(objects):
            of_class = is_kept & (shown == label)
            curve = precisions(scores[of_class], is_hit[of_class], int(left[label]))
            values.append(curve.mean() if left[label] else 1.0)
        return float(np.mean(values)) if values else 0.0

    costs = np.asarray([mean_ap(kind) for kind in range(len(KINDS))]) - mean_ap(None)
    as_given = np.full(len(kinds), -1)
    as_given[matches.order[is_sure]] = kinds[is_sure]
    return DetectionErrors(as_given, counts.T, costs)


def _kinds(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """Per prediction its kind (-1: right, or does not count) and the object it stands for, or -1."""
    predicted, true, found = matches.predicted, matches.true, matches.taken.copy()
    wrong = np.flatnonzero(matches.counts_for_ap & ~matches.is_right)
    objects = np.flatnonzero(matches.is_object)
    rows, columns, overlaps = overlapping(
        predicted.xywh[wrong],
        true.xywh[objects],
        (predicted.image[wrong], true.image[objects]),
        np.zeros(len(objects), bool),
    )
    is_same = predicted.label[wrong][rows] == true.label[objects][columns]
    (same, of_same), (other, of_other) = (
        _highest(rows[which], overlaps[which], objects[columns[which]], len(wrong))
        for which in (is_same, ~is_same)
    )
    least = least_overlap(matches.iou)
    is_place = (same >= BACKGROUND_IOU) & (same < least)
    is_class = ~is_place & (other >= least)
    is_near = np.maximum(same, other) >= BACKGROUND_IOU
    kinds = np.full(len(found), -1)
    kinds[wrong] = np.select(
        [is_place, is_class, same >= least, is_near], [PLACE, CLASS, DUPLICATE, BOTH], BACKGROUND
    )
    claim = np.where(is_place, of_same, np.where(is_class, of_other, -1))
    is_free = matches.is_object
    is_free[found[found >= 0]] = False
    claims = np.argsort(-predicted.scores[wrong], kind="stable")
    claims = claims[claim[claims] >= 0]
    claims = claims[is_free[claim[claims]]]
    claimed, first = np.unique(claim[claims], return_index=True)
    found[wrong[claims[first]]] = claimed
    return kinds, found


def _highest(
    rows: np.ndarray, values: np.ndarray, columns: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """(number,) the highest value of each row, 0 for none, and its column, of equal ones the first."""
    order = np.lexsort((columns, -values, rows))
    _, first = np.unique(rows[order], return_index=True)
    best, where = np.zeros(number), np.full(number, -1)
    best[rows[order[first]]], where[rows[order[first]]] = (
        values[order[first]],
        columns[order[first]],
    )
    return best, where
