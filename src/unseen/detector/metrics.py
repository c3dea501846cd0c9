"""Precision, recall, F1 and AP of detections, by the matching rule of COCO, on plain arrays.

Source: T.-Y. Lin et al., *Microsoft COCO: Common Objects in Context*, 2014, and its reference code
pycocotools, to both of which the tests compare; FiftyOne's evaluation follows the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unseen.arrays.bootstrap import f1_scores
from unseen.arrays.boxes import as_boxes, overlap_of_first
from unseen.arrays.boxes import iou as box_iou
from unseen.errors import ShapeError

#: Most confident detections of one class in one image that count towards AP, as COCO's; or twice as
#: many as the densest image has objects.
MAX_DETECTIONS = 100
#: The recalls at which the precision is read: 0, .01, ... 1.
RECALLS = np.linspace(0, 1, 101)

#: Boxes (N, 4) xyxy, classes (N,), confidences (N,) in [0, 1].
Predicted = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
#: Boxes (N, 4) xyxy, classes (N,), and whether each is a crowd, (N,) bool, if any is.
Truth = tuple[npt.ArrayLike, npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True)
class DetectionMetrics:
    """How good one detector is on a set of images, per class; shares in [0, 1]."""

    counts: npt.NDArray[np.int64]  #: (images, classes, 3) true positives, false positives, misses
    precision: npt.NDArray[np.float64]  #: (classes,); 0 without predictions
    recall: npt.NDArray[np.float64]  #: (classes,); 0 without true boxes
    f1: npt.NDArray[np.float64]  #: (classes,)
    ap: npt.NDArray[np.float64]  #: (classes,); NaN without true boxes
    support: npt.NDArray[np.int64]  #: (classes,) true boxes
    curves: npt.NDArray[np.float64]  #: (classes, 101) precision at RECALLS; NaN without true boxes
    #: per class, of all predictions that count: confidence and whether it is right, (N,) each
    judged: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]]
    ignored: list[
        npt.NDArray[np.int64]
    ]  #: per image, predictions in crowds: neither right nor wrong
    #: per image and class, and how many of each count towards AP
    matched: tuple[list[list[Match]], int]

    @property
    def micro_f1(self) -> float:
        """F1 of all boxes together, whatever their class; 0 without any."""
        return float(f1_scores(self.counts.sum(axis=(0, 1))))

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur; 0 if none does."""
        return self._mean(self.f1)

    @property
    def mean_ap(self) -> float:
        """Mean AP over the classes that occur; 0 if none does."""
        return self._mean(self.ap)

    def _mean(self, values: npt.NDArray[np.float64]) -> float:
        present = self.support > 0
        return float(values[present].mean()) if present.any() else 0.0


def detection_metrics(
    predictions: Sequence[Predicted],
    truths: Sequence[Truth],
    n_classes: int,
    *,
    iou: float = 0.5,
    min_confidence: float = 0.5,
    max_detections: int | None = None,
) -> DetectionMetrics:
    """Everything that `unseen evaluate-detector` reports, without a database.

    Within each class and image the predictions choose in descending order of confidence: each takes
    the true box that it overlaps most among those still free, if their overlap is at least `iou`.
    AP is the mean precision at 101 recalls, as in pycocotools: the precision at a recall is the
    highest one at that recall or beyond, 0 at recalls that are never reached. A crowd is no object to
    find, and a prediction without an object that lies in one by `iou` of its area is not counted.

    Classes are in [0, n_classes); the images of both arguments are in the same order. Predictions
    below `min_confidence` count for AP only. Raises `ShapeError` for numbers of boxes, labels and
    confidences that differ.
    """
    matches, max_detections = match_all(predictions, truths, n_classes, iou, max_detections)
    counts = np.zeros((len(truths), n_classes, 3), np.int64)
    for i, of_image in enumerate(matches):
        for label, match in enumerate(of_image):
            is_sure = (match.scores >= min_confidence) & ~match.is_ignored
            right = int(match.hits[is_sure].sum())
            counts[i, label] = right, int(is_sure.sum()) - right, match.objects - right
    tp, fp, fn = counts.sum(axis=0).T
    per_class = [_precisions([m[k] for m in matches], max_detections) for k in range(n_classes)]
    curves = np.asarray(per_class, np.float64).reshape(n_classes, len(RECALLS))
    return DetectionMetrics(
        counts=counts,
        precision=_share(tp, tp + fp),
        recall=_share(tp, tp + fn),
        f1=f1_scores(counts.sum(axis=0)),
        ap=curves.mean(axis=1),
        support=tp + fn,
        curves=curves,
        judged=[_judged([m[k] for m in matches]) for k in range(n_classes)],
        ignored=[np.concatenate([m.rows[m.is_ignored] for m in of_image]) for of_image in matches],
        matched=(matches, max_detections),
    )


class Match(NamedTuple):
    """One class in one image; predictions in descending order of confidence."""

    rows: np.ndarray  #: (N,) positions among the predictions of the image
    scores: np.ndarray  #: (N,)
    taken: np.ndarray  #: (N,) position of the true box that each has found, -1 for none
    is_ignored: np.ndarray  #: (N,) bool: which lie in a crowd instead
    objects: int  #: true boxes

    @property
    def hits(self) -> np.ndarray:
        """(N,) bool: which predictions are right."""
        return self.taken >= 0


_NO_ROWS = np.zeros(0, np.int64)
_NOTHING = Match(_NO_ROWS, np.zeros(0), _NO_ROWS, np.zeros(0, bool), 0)


def match_all(
    predictions: Sequence[Predicted],
    truths: Sequence[Truth],
    n_classes: int,
    iou: float,
    max_detections: int | None = None,
) -> tuple[list[list[Match]], int]:
    """The matches per image and class, and how many of each count towards AP."""
    matches = [
        _match(predicted, true, n_classes, iou)
        for predicted, true in zip(predictions, truths, strict=True)
    ]
    densest = max((sum(m.objects for m in row) for row in matches), default=0)
    return matches, max_detections or max(MAX_DETECTIONS, 2 * densest)


def _match(predicted: Predicted, true: Truth, n_classes: int, iou: float) -> list[Match]:
    boxes, labels, scores = as_boxes(predicted[0]), *map(np.asarray, predicted[1:])
    objects, true_labels = as_boxes(true[0]), np.asarray(true[1])
    is_crowd = np.asarray(true[2] if len(true) == 3 else np.zeros(len(objects)), bool)
    if not len(boxes) == len(labels) == len(scores) or not (
        len(objects) == len(true_labels) == len(is_crowd)
    ):
        raise ShapeError(
            f"{len(boxes)} predicted boxes have {len(labels)} labels and {len(scores)} confidences, "
            f"{len(objects)} true boxes {len(true_labels)} labels; expected as many of each"
        )
    if not len(boxes) and not len(objects):
        return [_NOTHING] * n_classes
    order = np.argsort(-scores, kind="stable")
    boxes, labels, scores = boxes[order], labels[order], scores[order]
    overlaps, inside = box_iou(boxes, objects), None
    if is_crowd.any():
        inside = overlap_of_first(boxes, objects) >= np.float32(iou)
    matches = []
    for label in range(n_classes):
        mine, theirs = labels == label, true_labels == label
        if not mine.any() and not theirs.any():
            matches.append(_NOTHING)
            continue
        of_class = np.flatnonzero(theirs & ~is_crowd)
        columns = _greedy(overlaps[mine][:, of_class], iou)
        taken = np.append(of_class, -1)[columns]  # -1, for none, is the last
        is_ignored = np.zeros(len(taken), bool)
        if inside is not None:
            is_ignored = (taken < 0) & inside[mine][:, theirs & is_crowd].any(axis=1)
        matches.append(Match(order[mine], scores[mine], taken, is_ignored, len(of_class)))
    return matches


def _greedy(overlaps: np.ndarray, iou: float) -> np.ndarray:
    """(N,) the free column that overlaps enough and that each row, in their order, gets; else -1."""
    free = overlaps.astype(np.float64)
    taken = np.full(len(free), -1)
    least = np.float32(iou)  # as the overlaps: else .6 would not be .6
    # A row that overlaps nothing enough needs no look at what is free.
    for row in np.flatnonzero(free.max(axis=1, initial=-1) >= least):
        # Of equal overlaps the last, as in pycocotools.
        best = free.shape[1] - 1 - int(np.argmax(free[row, ::-1]))
        if free[row, best] >= least:
            taken[row] = best
            free[:, best] = -1
    return taken


def _precisions(matches: Sequence[Match], most: int) -> npt.NDArray[np.float64]:
    """The curve of a class over all images; of equal confidences, earlier images count first."""
    return precisions(*_judged(matches, most), sum(match.objects for match in matches))


def precisions(scores: np.ndarray, hits: np.ndarray, objects: int) -> npt.NDArray[np.float64]:
    """(101,) precision at RECALLS of predictions (N,) that are `hits` (N,) bool or wrong.

    NaN without `objects` to find; of equal scores, the first counts first.
    """
    if not objects:
        return np.full(len(RECALLS), np.nan)
    right = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = right / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    where = np.searchsorted(right / objects, RECALLS, side="left")
    return np.append(precision, 0.0)[where]


def _judged(
    matches: Sequence[Match], most: int | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Confidence of the first predictions in each image, and whether they are right."""
    counts = [~match.is_ignored[:most] for match in matches]
    pairs = list(zip(matches, counts, strict=True))
    scores = np.concatenate([np.zeros(0), *(m.scores[:most][c] for m, c in pairs)])
    return scores, np.concatenate([np.zeros(0, bool), *(m.hits[:most][c] for m, c in pairs)])


def _share(part: np.ndarray, whole: np.ndarray) -> npt.NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0))
