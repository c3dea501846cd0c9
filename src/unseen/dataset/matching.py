"""Predictions against labels of a view: what counts, by the rules of COCO, and what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unseen.arrays.boxes import clean_boxes, rel_xywh_to_xyxy
from unseen.dataset import reading, scope
from unseen.dataset.loop import Loop
from unseen.detector.metrics import DetectionMetrics, Predicted, Truth, detection_metrics


@dataclass(frozen=True)
class Matched:
    """What a detector predicted, measured."""

    view: Any  #: the samples with the labels and predictions that count
    classes: list[str]  #: as given, and those that only labels or predictions have
    predictions: list[Predicted]  #: per sample, in relative xyxy
    truths: list[Truth]  #: per sample
    prediction_ids: list[np.ndarray]  #: per sample
    metrics: DetectionMetrics
    box_problems: dict[str, int]  #: of the labels: "empty", "not finite", ...


@dataclass(frozen=True)
class _Boxes:
    """The usable boxes of one field in one sample."""

    ids: np.ndarray
    labels: list[str]
    xyxy: np.ndarray
    scores: np.ndarray
    is_crowd: np.ndarray


def match(
    loop: Loop, field: str, classes: Sequence[str], *, iou: float, min_confidence: float = 0.5
) -> Matched:
    """Compare the predictions in `field` with the labels of all samples of the view.

    In a partly labelled image, boxes count whose centre lies in its scope. Labels that are empty,
    not finite, outside of the image or without a class do not count, and neither do crowds (the
    attribute `iscrowd`) and what is predicted in them.
    """
    view = scope.in_scope(loop, (loop.names.label_field, field))
    truths, left_out, problems = _read(view, loop.names.label_field)
    predicted, unusable, _ = _read(view, field)
    found = {label for boxes in (*truths, *predicted) for label in boxes.labels}
    known = list(dict.fromkeys([*classes, *sorted(found)]))
    number = {label: i for i, label in enumerate(known)}

    def numbers(boxes: _Boxes) -> np.ndarray:
        return np.asarray([number[label] for label in boxes.labels], np.int64)

    predictions: list[Predicted] = [(b.xyxy, numbers(b), b.scores) for b in predicted]
    objects: list[Truth] = [(b.xyxy, numbers(b), b.is_crowd) for b in truths]
    metrics = detection_metrics(
        predictions, objects, len(known), iou=iou, min_confidence=min_confidence
    )
    left_out += unusable
    for boxes, of_truth, rows in zip(predicted, truths, metrics.ignored, strict=True):
        left_out += [*boxes.ids[rows], *of_truth.ids[of_truth.is_crowd]]
    if left_out:
        fields = [loop.names.label_field, field]
        view = view.exclude_labels(ids=left_out, fields=fields, omit_empty=False)
    ids = [b.ids for b in predicted]
    return Matched(view, known, predictions, objects, ids, metrics, problems)


def _read(view: Any, field: str) -> tuple[list[_Boxes], list[str], dict[str, int]]:
    """Per sample its usable boxes; the ids of the others, and what is wrong with them."""
    names = ("id", "label", "bounding_box", "confidence", *reading.CROWD)
    columns = view.values([f"{field}.detections.{name}" for name in names])
    read, unusable = [], []
    problems: Counter[str] = Counter()
    for *row, new, old in zip(*columns, strict=True):
        ids, labels, rel, scores = ([*(values or ())] for values in row)
        is_crowd = reading.crowd_flags(new, old)
        usable = [i for i in range(len(ids)) if labels[i] and rel[i] is not None]
        problems["without a class or a place"] += len(ids) - len(usable)
        corners = rel_xywh_to_xyxy([rel[i] for i in usable], 1, 1)
        _, kept, wrong = clean_boxes(corners, np.asarray(usable, np.int64), 1, 1)
        problems.update({what: n for what, n in wrong.items() if what != "clipped"})
        unusable += [ids[i] for i in set(range(len(ids))) - set(kept.tolist())]
        # Not clipped: COCO's reference does not either.
        read.append(
            _Boxes(
                ids=np.asarray([ids[i] for i in kept], object),
                labels=[labels[i] for i in kept],
                xyxy=corners[np.isin(usable, kept)],
                scores=np.asarray([scores[i] or 0.0 for i in kept], np.float64),
                is_crowd=np.asarray([is_crowd[i] for i in kept], bool),
            )
        )
    return read, unusable, {what: n for what, n in problems.items() if n}
