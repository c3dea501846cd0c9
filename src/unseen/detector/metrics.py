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
from unseen.arrays.boxes import as_boxes
from unseen.arrays.boxes import iou as box_iou
from unseen.errors import ShapeError

#: Most confident detections of one class in one image that count towards AP; as COCO's.
MAX_DETECTIONS = 100
#: The recalls at which the precision is read: 0, .01, ... 1.
RECALLS = np.linspace(0, 1, 101)

#: Boxes (N, 4) xyxy px, classes (N,), confidences (N,) in [0, 1].
Predicted = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
#: Boxes (N, 4) xyxy px, classes (N,).
Truth = tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True)
class DetectionMetrics:
    """How good one detector is on a set of images, per class; shares in [0, 1]."""

    counts: npt.NDArray[np.int64]  #: (images, classes, 3) true positives, false positives, misses
    precision: npt.NDArray[np.float64]  #: (classes,); 0 without predictions
    recall: npt.NDArray[np.float64]  #: (classes,); 0 without true boxes
    f1: npt.NDArray[np.float64]  #: (classes,)
    ap: npt.NDArray[np.float64]  #: (classes,); NaN without true boxes
    support: npt.NDArray[np.int64]  #: (classes,) true boxes

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
) -> DetectionMetrics:
    """Everything that `unseen evaluate-detector` reports, without a database.

    Within each class and image the predictions choose in descending order of confidence: each takes
    the true box that it overlaps most among those still free, if their overlap is at least `iou`.
    AP is the mean precision at 101 recalls, as in pycocotools: the precision at a recall is the
    highest one at that recall or beyond, 0 at recalls that are never reached.

    Classes are in [0, n_classes); the images of both arguments are in the same order. Predictions
    below `min_confidence` count for AP only. Raises `ShapeError` for numbers of boxes, labels and
    confidences that differ.
    """
    matches = [
        _match(predicted, true, n_classes, iou)
        for predicted, true in zip(predictions, truths, strict=True)
    ]
    counts = np.zeros((len(truths), n_classes, 3), np.int64)
    for i, of_image in enumerate(matches):
        for label, match in enumerate(of_image):
            is_sure = match.scores >= min_confidence
            right = int(match.hits[is_sure].sum())
            counts[i, label] = right, int(is_sure.sum()) - right, match.objects - right
    tp, fp, fn = counts.sum(axis=0).T
    return DetectionMetrics(
        counts=counts,
        precision=_share(tp, tp + fp),
        recall=_share(tp, tp + fn),
        f1=f1_scores(counts.sum(axis=0)),
        ap=np.asarray([_average_precision([m[k] for m in matches]) for k in range(n_classes)]),
        support=tp + fn,
    )


class _Match(NamedTuple):
    """One class in one image."""

    scores: np.ndarray  #: (N,) in descending order
    hits: np.ndarray  #: (N,) bool: which predictions are right
    objects: int  #: true boxes


def _match(predicted: Predicted, true: Truth, n_classes: int, iou: float) -> list[_Match]:
    boxes, labels, scores = as_boxes(predicted[0]), *map(np.asarray, predicted[1:])
    objects, true_labels = as_boxes(true[0]), np.asarray(true[1])
    if not len(boxes) == len(labels) == len(scores) or len(objects) != len(true_labels):
        raise ShapeError(
            f"{len(boxes)} predicted boxes have {len(labels)} labels and {len(scores)} confidences, "
            f"{len(objects)} true boxes {len(true_labels)} labels; expected as many of each"
        )
    matches = []
    for label in range(n_classes):
        mine = np.flatnonzero(labels == label)
        mine = mine[np.argsort(-scores[mine], kind="stable")]
        theirs = true_labels == label
        hits = _greedy(box_iou(boxes[mine], objects[theirs]), iou)
        matches.append(_Match(scores[mine], hits, int(theirs.sum())))
    return matches


def _greedy(overlaps: np.ndarray, iou: float) -> np.ndarray:
    """(N,) bool: which of the rows, in their order, get a free column that overlaps enough."""
    free = overlaps.astype(np.float64)
    hits = np.zeros(len(free), bool)
    least = np.float32(iou)  # as the overlaps: else .6 would not be .6
    for row in range(len(free) if free.size else 0):
        # Of equal overlaps the last, as in pycocotools.
        best = free.shape[1] - 1 - int(np.argmax(free[row, ::-1]))
        if free[row, best] >= least:
            hits[row] = True
            free[:, best] = -1
    return hits


def _average_precision(matches: Sequence[_Match]) -> float:
    """Of one class over all images; of equal confidences those of earlier images count first."""
    objects = sum(match.objects for match in matches)
    if not objects:
        return float("nan")
    scores = np.concatenate([match.scores[:MAX_DETECTIONS] for match in matches])
    hits = np.concatenate([match.hits[:MAX_DETECTIONS] for match in matches])
    right = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = right / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    where = np.searchsorted(right / objects, RECALLS, side="left")
    return float(np.append(precision, 0.0)[where].mean())


def _share(part: np.ndarray, whole: np.ndarray) -> npt.NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0))
