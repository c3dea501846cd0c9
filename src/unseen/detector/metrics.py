"""Precision, recall, F1 and AP of detections, by the matching rule of COCO, on plain arrays.

Source: T.-Y. Lin et al., *Microsoft COCO: Common Objects in Context*, 2014, and its reference code
pycocotools. FiftyOne's evaluation follows the same rule. The tests hold these functions to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.arrays.bootstrap import f1_scores
from unseen.arrays.boxes import iou as box_iou
from unseen.errors import ConfigError, ShapeError

#: Detections of one class in one image that count towards AP, the most confident first; as COCO's.
MAX_DETECTIONS = 100
#: The recalls at which the precision is read: 0, .01, ... 1.
RECALLS = np.linspace(0, 1, 101)

Counts = npt.NDArray[np.int64]
#: Boxes (N, 4) xyxy px, classes (N,), confidences (N,).
Predicted = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
#: Boxes (N, 4) xyxy px, classes (N,).
Truth = tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True)
class DetectionMetrics:
    """How good one detector is on a set of images, per class.

    Attributes:
        counts: (images, classes, 3) true positives, false positives, misses.
        precision: (classes,) in [0, 1]; 0 where nothing was predicted.
        recall: (classes,) in [0, 1]; 0 where there is nothing to find.
        f1: (classes,) in [0, 1].
        ap: (classes,) in [0, 1]; NaN where there is nothing to find.
        support: (classes,) true boxes.
    """

    counts: Counts
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    ap: npt.NDArray[np.float64]
    support: Counts

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur; 0 where none does."""
        present = self.support > 0
        return float(self.f1[present].mean()) if present.any() else 0.0

    @property
    def mean_ap(self) -> float:
        """Mean AP over the classes that occur; 0 where none does."""
        present = self.support > 0
        return float(self.ap[present].mean()) if present.any() else 0.0


def detection_metrics(
    predictions: Sequence[Predicted],
    truths: Sequence[Truth],
    n_classes: int,
    *,
    iou: float = 0.5,
    min_confidence: float = 0.5,
) -> DetectionMetrics:
    """Everything that `unseen evaluate-detector` reports, without a database.

    Args:
        predictions: per image boxes (N, 4) xyxy px, classes (N,) in [0, n_classes), confidences (N,).
        truths: per image boxes (M, 4) xyxy px and classes (M,), in the same order.
        n_classes: number of classes, >= 1.
        iou: smallest overlap of a match, in (0, 1].
        min_confidence: predictions below count for AP only, in [0, 1].

    Raises:
        ShapeError: predictions and truths, or parts of one of them, differ in length.
        ConfigError: a number or a class is out of its range.
    """
    _check_same_images(predictions, truths)
    counts = np.zeros((len(truths), n_classes, 3), np.int64)
    for i, (found, true) in enumerate(zip(predictions, truths, strict=True)):
        counts[i] = match_counts(*found, *true, n_classes, iou=iou, min_confidence=min_confidence)
    tp, fp, fn = counts.sum(axis=0).T
    return DetectionMetrics(
        counts=counts,
        precision=_share(tp, tp + fp),
        recall=_share(tp, tp + fn),
        f1=f1_scores(counts.sum(axis=0)),
        ap=average_precision(predictions, truths, n_classes, iou=iou),
        support=tp + fn,
    )


def match_counts(
    pred_boxes: npt.ArrayLike,
    pred_labels: npt.ArrayLike,
    pred_scores: npt.ArrayLike,
    true_boxes: npt.ArrayLike,
    true_labels: npt.ArrayLike,
    n_classes: int,
    iou: float = 0.5,
    min_confidence: float = 0.5,
) -> Counts:
    """True positives, false positives and misses per class in one image.

    Within each class the predictions choose in descending order of confidence: each takes the true
    box that it overlaps most among those still free, if it overlaps it by `iou` or more.

    Args:
        pred_boxes: (N, 4) xyxy px.
        pred_labels: (N,) classes in [0, n_classes).
        pred_scores: (N,) confidences in [0, 1].
        true_boxes: (M, 4) xyxy px.
        true_labels: (M,) classes in [0, n_classes).
        n_classes: number of classes, >= 1.
        iou: smallest overlap of a match, in (0, 1].
        min_confidence: predictions below are left out, in [0, 1].

    Returns:
        (n_classes, 3) int64.

    Raises:
        ShapeError: boxes, classes and confidences differ in number.
        ConfigError: a number or a class is out of its range.
    """
    if not 0 <= min_confidence <= 1:
        raise ConfigError(f"min_confidence is {min_confidence}; expected a number in [0, 1]")
    counts = np.zeros((n_classes, 3), np.int64)
    predicted, true = (pred_boxes, pred_labels, pred_scores), (true_boxes, true_labels)
    for label, scores, hits, objects in _matched_classes(predicted, true, n_classes, iou):
        right = int(hits[scores >= min_confidence].sum())
        counts[label] = right, int((scores >= min_confidence).sum()) - right, objects - right
    return counts


def average_precision(
    predictions: Sequence[Predicted],
    truths: Sequence[Truth],
    n_classes: int,
    *,
    iou: float = 0.5,
    max_detections: int = MAX_DETECTIONS,
) -> npt.NDArray[np.float64]:
    """AP per class at one overlap: the mean precision at 101 recalls, as pycocotools computes it.

    The precision at a recall is the highest one at that recall or beyond; 0 at recalls that are never
    reached. Of equal confidences those of earlier images count first.

    Args:
        predictions: per image boxes (N, 4) xyxy px, classes (N,), confidences (N,), all of them.
        truths: per image boxes (M, 4) xyxy px and classes (M,), in the same order.
        n_classes: number of classes, >= 1.
        iou: smallest overlap of a match, in (0, 1].
        max_detections: the most confident ones per image and class count.

    Returns:
        (n_classes,) in [0, 1]; NaN for classes without a true box.

    Raises:
        ShapeError: predictions and truths, or parts of one of them, differ in length.
        ConfigError: a number or a class is out of its range.
    """
    _check_same_images(predictions, truths)
    scores: list[list[np.ndarray]] = [[] for _ in range(n_classes)]
    hits: list[list[np.ndarray]] = [[] for _ in range(n_classes)]
    objects = np.zeros(n_classes, np.int64)
    for found, true in zip(predictions, truths, strict=True):
        for label, image_scores, image_hits, number in _matched_classes(
            found, true, n_classes, iou, max_detections
        ):
            scores[label].append(image_scores)
            hits[label].append(image_hits)
            objects[label] += number
    return np.asarray(
        [
            _area(np.concatenate(scores[k]), np.concatenate(hits[k]), objects[k])
            if objects[k]
            else np.nan
            for k in range(n_classes)
        ],
        np.float64,
    )


def _matched_classes(
    predicted: Predicted,
    true: Truth,
    n_classes: int,
    iou: float,
    max_detections: int | None = None,
) -> list[tuple[int, np.ndarray, np.ndarray, int]]:
    """Per class of one image: confidences in descending order, which are right, true boxes."""
    if not 0 < iou <= 1:
        raise ConfigError(f"iou is {iou}; expected a number in (0, 1]")
    boxes, labels = _checked("predicted", *predicted[:2], n_classes)
    objects, true_labels = _checked("true", *true, n_classes)
    scores = np.asarray(predicted[2], np.float64).reshape(-1)
    if len(scores) != len(labels):
        raise ShapeError(f"{len(labels)} predicted boxes have {len(scores)} confidences")
    found = []
    for label in np.union1d(labels, true_labels):
        mine = np.flatnonzero(labels == label)
        mine = mine[np.argsort(-scores[mine], kind="stable")][:max_detections]
        theirs = true_labels == label
        hits = _greedy(box_iou(boxes[mine], objects[theirs]), iou)
        found.append((int(label), scores[mine], hits, int(theirs.sum())))
    return found


def _greedy(overlaps: np.ndarray, iou: float) -> np.ndarray:
    """(N,) bool: which of the rows, in their order, find a free column that overlaps enough."""
    free = overlaps.astype(np.float64)
    hits = np.zeros(len(free), bool)
    if not free.size:
        return hits
    least = np.float32(iou)  # as the overlaps: else .6 would not be .6
    for row in range(len(free)):
        # Of equal overlaps the last, as in pycocotools.
        best = free.shape[1] - 1 - int(np.argmax(free[row, ::-1]))
        if free[row, best] >= least:
            hits[row] = True
            free[:, best] = -1
    return hits


def _area(scores: np.ndarray, hits: np.ndarray, objects: int) -> float:
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    precision = right / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    where = np.searchsorted(right / objects, RECALLS, side="left")
    return float(np.append(precision, 0.0)[where].mean())


def _checked(
    kind: str, boxes: npt.ArrayLike, labels: npt.ArrayLike, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    classes = np.asarray(labels, np.int64).reshape(-1)
    if len(corners) != len(classes):
        raise ShapeError(
            f"{len(corners)} {kind} boxes have {len(classes)} labels; expected as many"
        )
    if len(classes) and (classes.min() < 0 or classes.max() >= n_classes):
        raise ConfigError(
            f"{kind} labels reach from {classes.min()} to {classes.max()}; expected indices of the "
            f"{n_classes} classes, from 0 on"
        )
    return corners, classes


def _check_same_images(predictions: Sequence[Predicted], truths: Sequence[Truth]) -> None:
    if len(predictions) != len(truths):
        raise ShapeError(
            f"predictions of {len(predictions)} images and labels of {len(truths)}; expected the "
            "same images in the same order"
        )


def _share(part: np.ndarray, whole: np.ndarray) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = np.divide(
        part, whole, out=np.zeros(len(whole)), where=whole > 0
    )
    return shares
