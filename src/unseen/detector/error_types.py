"""Which kinds of errors cost a detector most, on plain arrays.

Source: D. Bolya et al., *TIDE: A General Toolbox for Identifying Object Detection Errors*, 2020: the
kinds, in which order they are tried, and what it means to correct one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.arrays.boxes import as_boxes
from unseen.arrays.boxes import iou as box_iou
from unseen.detector.metrics import Match, Predicted, Truth, match_all, precisions

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

    of_predictions: list[npt.NDArray[np.int64]]  #: (N,) per image; -1: right, or does not count
    #: (classes, kinds) of confident predictions, by the class they gave, and what they miss
    counts: npt.NDArray[np.int64]
    costs: npt.NDArray[np.float64]  #: (kinds,) what AP, [0, 1], would gain without this kind


def detection_errors(
    predictions: Sequence[Predicted],
    truths: Sequence[Truth],
    n_classes: int,
    *,
    iou: float = 0.5,
    min_confidence: float = 0.5,
    matched: tuple[list[list[Match]], int] | None = None,
) -> DetectionErrors:
    """The kind of every false alarm, the objects nobody found, and what each kind costs.

    Arguments and matching are those of `detection_metrics`, whose `matched` saves doing it twice: costs are of all predictions, counts and
    `of_predictions` of those from `min_confidence` on. A false alarm is "place" if the object of
    its class that it overlaps most is overlapped by .1 or more, but too little; else "class" if it
    overlaps one of another class enough; else "duplicate" if one of its own that is taken; else
    "background" if it overlaps nothing by .1, or "both". An object is "missed" if no prediction took
    it, and none of "class" and "place" stands for it.

    The cost of a kind is the gain in mean AP at `iou` if each of its errors were corrected alone: for
    "class" and "place" the most confident one for a free object is right, and the others are gone, as
    are those of other kinds; missed objects need not be found. A class of which nothing is left to
    find has AP 1. (TIDE says 0, so that a class that is never found would cost nothing.)
    """
    matches, most = matched or match_all(predictions, truths, n_classes, iou)
    counts = np.zeros((n_classes, len(KINDS)), np.int64)
    missed = np.zeros(n_classes, np.int64)
    of_predictions, rows = [], []
    for predicted, true, of_image in zip(predictions, truths, matches, strict=True):
        kinds, found = _of_image(predicted, true, of_image, iou, most)
        labels, true_labels = np.asarray(predicted[1], np.int64), np.asarray(true[1], np.int64)
        scores = np.asarray(predicted[2], np.float64)
        is_sure = scores >= min_confidence
        is_error = is_sure & (kinds >= 0)
        np.add.at(counts, (labels[is_error], kinds[is_error]), 1)
        np.add.at(counts[:, MISSED], true_labels[_objects(true, found[is_sure])], 1)
        np.add.at(missed, true_labels[_objects(true, found)], 1)
        of_predictions.append(np.where(is_sure, kinds, -1))
        found_label = np.append(true_labels, -1)[found]
        for label, match in enumerate(of_image):
            r = match.rows[:most][~match.is_ignored[:most]]
            rows.append(np.stack([np.full(len(r), label), scores[r], kinds[r], found_label[r]]))
    labels, scores, kinds, found_label = np.concatenate([np.zeros((4, 0)), *rows], axis=1)
    objects = np.asarray([[m.objects for m in row] for row in matches], np.int64)
    objects = objects.reshape(-1, n_classes).sum(axis=0)

    def mean_ap(without: int | None) -> float:
        is_kept = (kinds != without) | (found_label >= 0)
        is_hit = is_kept & ((kinds < 0) | (kinds == without))
        shown = np.where(kinds == without, found_label, labels)
        left = objects - (missed if without == MISSED else 0)
        values = []
        for label in np.flatnonzero(objects):
            of_class = is_kept & (shown == label)
            curve = precisions(scores[of_class], is_hit[of_class], int(left[label]))
            values.append(curve.mean() if left[label] else 1.0)
        return float(np.mean(values)) if values else 0.0

    costs = np.asarray([mean_ap(kind) for kind in range(len(KINDS))]) - mean_ap(None)
    return DetectionErrors(of_predictions, counts, costs)


def _objects(true: Truth, without: np.ndarray) -> np.ndarray:
    """(M,) bool: the true boxes that are no crowds, without those at some positions (-1: none)."""
    is_object = np.ones(len(np.asarray(true[1])), bool)
    if len(true) == 3:
        is_object &= ~np.asarray(true[2], bool)
    is_object[without[without >= 0]] = False
    return is_object


def _of_image(
    predicted: Predicted, true: Truth, matches: Sequence[Match], iou: float, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Per prediction its kind (-1: right, or does not count) and the object it stands for, or -1."""
    boxes, labels, scores = as_boxes(predicted[0]), *map(np.asarray, predicted[1:])
    true_labels = np.asarray(true[1])
    kinds, found = np.full((2, len(boxes)), -1)
    for match in matches:
        found[match.rows] = match.taken
    overlaps = np.where(_objects(true, found[:0]), box_iou(boxes, as_boxes(true[0])), 0)
    is_free = _objects(true, found)
    counted = [m.rows[:most][~(m.hits | m.is_ignored)[:most]] for m in matches]
    wrong = np.concatenate([np.zeros(0, np.int64), *counted])
    enough, little = np.float32(iou), np.float32(BACKGROUND_IOU)
    for row in wrong[np.argsort(-scores[wrong], kind="stable")]:
        same = np.where(labels[row] == true_labels, overlaps[row], 0)
        other = overlaps[row] - same
        best_same, best_other = same.max(initial=0), other.max(initial=0)
        if little <= best_same < enough:
            kinds[row], claim = PLACE, int(same.argmax())
        elif best_other >= enough:
            kinds[row], claim = CLASS, int(other.argmax())
        else:
            is_near = max(best_same, best_other) >= little
            kinds[row] = DUPLICATE if best_same >= enough else BOTH if is_near else BACKGROUND
            continue
        if is_free[claim]:
            is_free[claim], found[row] = False, claim
    return kinds, found
