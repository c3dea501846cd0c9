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
from unseen.arrays.boxes import as_boxes, overlapping
from unseen.errors import ShapeError

#: Most confident detections of one class in one image that count towards AP, as COCO's; or twice as
#: many as the densest image has objects.
MAX_DETECTIONS = 100
#: The recalls at which the precision is read: 0, .01, ... 1.
RECALLS = np.linspace(0, 1, 101)

#: Boxes (N, 4) [x, y, width, height] in any unit, classes (N,), confidences (N,) in [0, 1].
Predicted = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
#: Boxes (N, 4) [x, y, width, height], classes (N,), and which are crowds, (N,) bool, if any is.
Truth = tuple[npt.ArrayLike, npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]


class Boxes(NamedTuple):
    """The boxes of all images, one image after another."""

    image: npt.NDArray[np.int64]  #: (N,)
    xywh: npt.NDArray[np.float64]  #: (N, 4)
    label: npt.NDArray[np.int64]  #: (N,)
    scores: npt.NDArray[np.float64]  #: (N,) confidence; of true boxes 1 for a crowd, else 0


@dataclass(frozen=True)
class Matches:
    """What each prediction has found, by the rule of COCO.

    Predictions are ordered by image, class and descending confidence; of equal ones, as given.
    """

    classes: int
    iou: float  #: least overlap of a prediction with what it finds
    most: int  #: predictions of a class in an image that count towards AP
    predicted: Boxes
    true: Boxes  #: as given
    order: npt.NDArray[np.int64]  #: (N,) place of each prediction among those given
    taken: npt.NDArray[np.int64]  #: (N,) place of the true box that each has found, -1 for none
    overlap: npt.NDArray[np.float64]  #: (N,) IoU with it, 0 for none
    is_ignored: npt.NDArray[np.bool_]  #: (N,) which lie in a crowd instead: neither right nor wrong

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """(N,) which predictions have found something."""
        return self.taken >= 0

    @property
    def is_object(self) -> npt.NDArray[np.bool_]:
        """(M,) which true boxes are to be found: those that are no crowds."""
        return np.asarray(self.true.scores == 0)

    @property
    def counts_for_ap(self) -> npt.NDArray[np.bool_]:
        """(N,) which predictions count towards AP."""
        group = self.group(self.predicted)
        place = np.arange(len(group)) - np.searchsorted(group, group)
        return (place < self.most) & ~self.is_ignored

    def group(self, boxes: Boxes) -> npt.NDArray[np.int64]:
        """(N,) a number for each image and class."""
        return boxes.image * self.classes + boxes.label

    def judged(
        self, label: int, counts: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Confidences of the predictions (N,) of a class that count, and whether they are right."""
        of_class = counts & (self.predicted.label == label)
        return self.predicted.scores[of_class], self.is_right[of_class]


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
    matches: Matches

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

    AP is the mean precision at 101 recalls, as in pycocotools: the precision at a recall is the
    highest one at that recall or beyond, 0 at recalls that are never reached. Predictions below
    `min_confidence` count for AP only. The other arguments are those of `match_boxes`.
    """
    matches = match_boxes(predictions, truths, n_classes, iou=iou, max_detections=max_detections)
    is_sure = (matches.predicted.scores >= min_confidence) & ~matches.is_ignored
    groups, is_right = matches.group(matches.predicted), matches.is_right
    objects = matches.group(matches.true)[matches.is_object]
    right, wrong, objects = (
        np.bincount(of_group, minlength=len(truths) * n_classes)
        for of_group in (groups[is_sure & is_right], groups[is_sure & ~is_right], objects)
    )
    counts = np.stack([right, wrong, objects - right], axis=1).reshape(len(truths), n_classes, 3)
    tp, fp, fn = counts.sum(axis=0).T
    counted, support = matches.counts_for_ap, tp + fn
    per_class = [precisions(*matches.judged(k, counted), support[k]) for k in range(n_classes)]
    curves = np.asarray(per_class, np.float64).reshape(n_classes, len(RECALLS))
    return DetectionMetrics(
        counts=counts,
        precision=_share(tp, tp + fp),
        recall=_share(tp, support),
        f1=f1_scores(counts.sum(axis=0)),
        ap=curves.mean(axis=1),
        support=support,
        curves=curves,
        judged=[matches.judged(k, ~matches.is_ignored) for k in range(n_classes)],
        matches=matches,
    )


def match_boxes(
    predictions: Sequence[Predicted],
    truths: Sequence[Truth],
    n_classes: int,
    *,
    iou: float = 0.5,
    max_detections: int | None = None,
) -> Matches:
    """What each prediction has found.

    Within each class and image the predictions choose in descending order of confidence: each takes
    the true box that it overlaps most among those still free, of equal ones the last, if their
    overlap is at least `iou`. A crowd is no object to find, and a prediction without an object that
    lies in one by `iou` of its area is not counted.

    Classes are in [0, n_classes); the images of both arguments are in the same order. Raises
    `ShapeError` for numbers of images, boxes, labels and confidences that differ.
    """
    if len(predictions) != len(truths):
        raise ShapeError(
            f"predictions of {len(predictions)} images, true boxes of {len(truths)}; expected the "
            "same images"
        )
    given, true = _joined(predictions, "predicted", "confidences"), _joined(truths, "true", "marks")
    order = np.lexsort((-given.scores, given.label, given.image))
    predicted = Boxes._make(values[order] for values in given)
    groups = predicted.image * n_classes + predicted.label, true.image * n_classes + true.label
    is_crowd = true.scores > 0
    rows, columns, overlaps = overlapping(predicted.xywh, true.xywh, groups, is_crowd)
    enough = overlaps >= least_overlap(iou)
    is_ignored = np.zeros(len(order), bool)
    is_ignored[rows[enough & is_crowd[columns]]] = True
    pairs = np.flatnonzero(enough & ~is_crowd[columns])
    # Of equal overlaps the last, as in pycocotools and FiftyOne.
    pairs = pairs[np.lexsort((-columns[pairs], -overlaps[pairs], rows[pairs]))]
    taken, overlap = np.full(len(order), -1), np.zeros(len(order))
    has_none, is_free = [True] * len(order), [True] * len(is_crowd)
    for pair, row, column in zip(
        pairs.tolist(), rows[pairs].tolist(), columns[pairs].tolist(), strict=True
    ):
        if has_none[row] and is_free[column]:
            has_none[row] = is_free[column] = False
            taken[row], overlap[row] = column, overlaps[pair]
    densest = int(np.bincount(true.image[~is_crowd], minlength=1).max())
    return Matches(
        classes=n_classes,
        iou=iou,
        most=max_detections or max(MAX_DETECTIONS, 2 * densest),
        predicted=predicted,
        true=true,
        order=order,
        taken=taken,
        overlap=overlap,
        is_ignored=is_ignored & (taken < 0),
    )


def least_overlap(iou: float) -> float:
    """The overlap that is enough; both pycocotools and FiftyOne forgive rounding at an IoU of 1."""
    return min(iou, 1 - 1e-10)


def _joined(images: Sequence[Predicted] | Sequence[Truth], what: str, values: str) -> Boxes:
    columns: list[list[np.ndarray]] = [[], [], []]
    for xywh, labels, *rest in images:
        boxes = as_boxes(xywh, np.float64)
        scores = np.asarray(rest[0] if rest else np.zeros(len(boxes)), np.float64)
        for column, part in zip(
            columns, (boxes, np.asarray(labels, np.int64), scores), strict=True
        ):
            column.append(part)
    sizes = [[len(part) for part in column] for column in columns]
    for index, size in enumerate(zip(*sizes, strict=True)):
        if len(set(size)) > 1:
            raise ShapeError(
                f"image {index}: {size[0]} {what} boxes have {size[1]} labels and {size[2]} {values}; "
                "expected as many of each"
            )
    empty = (np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    joined = [np.concatenate([no, *of]) for no, of in zip(empty, columns, strict=True)]
    return Boxes(np.repeat(np.arange(len(images)), sizes[0]), *joined)


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


def _share(part: np.ndarray, whole: np.ndarray) -> npt.NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0))
