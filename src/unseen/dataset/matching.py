"""Predictions against labels of a view: what counts, by the rules of COCO, and what does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from unseen.arrays.boxes import clean_boxes, rel_xywh_to_xyxy
from unseen.arrays.scope import centre_in_scope
from unseen.dataset import reading, scope
from unseen.dataset.loop import Loop
from unseen.detector.metrics import DetectionMetrics, detection_metrics


@dataclass(frozen=True)
class StoredBoxes:
    """The boxes of one field that count, in the order of the samples."""

    sample: list[int]  #: (N,) number of the sample
    ids: list[str]  #: (N,)
    labels: list[str]  #: (N,)
    xywh: np.ndarray  #: (N, 4) relative
    values: np.ndarray  #: (N,) confidence; of labels, whether it is a crowd
    left_out: list[str]  #: ids of those that do not count
    problems: dict[str, int]  #: why not: "empty", "not finite", ...


@dataclass(frozen=True)
class Matched:
    """What a detector predicted, measured."""

    view: Any  #: the samples with the labels and predictions that count
    classes: list[str]  #: as given, and those that only labels or predictions have
    samples: list[str]
    predicted: StoredBoxes
    true: StoredBoxes
    metrics: DetectionMetrics


def match(
    loop: Loop, field: str, classes: Sequence[str], *, iou: float, min_confidence: float = 0.5
) -> Matched:
    """Compare the predictions in `field` with the labels of all samples of the view.

    In a partly labelled image, boxes count whose centre lies in its scope. Labels that are empty,
    not finite, outside of the image or without a class do not count, and neither do crowds (the
    attribute `iscrowd`) and what is predicted in them.
    """
    samples, (true, predicted) = _read(loop, loop.names.label_field, field)
    known = list(dict.fromkeys([*classes, *sorted({*true.labels, *predicted.labels})]))
    number = {label: i for i, label in enumerate(known)}

    def per_sample(boxes: StoredBoxes) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        labels = np.asarray([number[label] for label in boxes.labels], np.int64)
        cuts = np.searchsorted(boxes.sample, np.arange(len(samples) + 1)).tolist()
        for start, end in pairwise(cuts):
            yield boxes.xywh[start:end], labels[start:end], boxes.values[start:end]

    metrics = detection_metrics(
        list(per_sample(predicted)),
        list(per_sample(true)),
        len(known),
        iou=iou,
        min_confidence=min_confidence,
    )
    ignored = metrics.matches.order[metrics.matches.is_ignored]
    left_out = [*true.left_out, *predicted.left_out, *(predicted.ids[i] for i in ignored)]
    left_out += [true.ids[i] for i in np.flatnonzero(true.values)]
    view = loop.view
    if left_out:  # by id, because no filter can compare a box with others of its sample
        fields = [loop.names.label_field, field]
        view = view.exclude_labels(ids=left_out, fields=fields, omit_empty=False)
    return Matched(view, known, samples, predicted, true, metrics)


@dataclass
class _Columns:
    """The boxes of one field as they are read: few objects, which Python's collector walks through."""

    sample: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    xywh: list[float] = field(default_factory=list)  #: flat
    values: list[float] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  #: without a class or a place

    def add(self, sample: int, box: Mapping[str, Any], value: float) -> None:
        label, rel = box.get("label"), box.get("bounding_box")
        if not label or not rel or len(rel) != 4:
            self.left_out.append(str(box["_id"]))
            return
        self.sample.append(sample)
        self.ids.append(str(box["_id"]))
        self.labels.append(label)
        self.xywh += rel
        self.values.append(value)

    def usable(self, scopes: Mapping[int, scope.Scope]) -> StoredBoxes:
        """The boxes that lie in the image, and in the scope of those images that have one."""
        xywh = np.asarray(self.xywh, np.float64).reshape(-1, 4)
        corners = rel_xywh_to_xyxy(xywh, 1, 1)
        # Not clipped: COCO's reference does not either.
        _, kept, wrong = clean_boxes(corners, np.arange(len(corners)), 1, 1)
        problems = {what: n for what, n in wrong.items() if what != "clipped"}
        problems["without a class or a place"] = len(self.left_out)
        of_sample = np.asarray(self.sample, np.int64)
        is_used = np.zeros(len(corners), bool)
        is_used[kept] = True
        for sample, rectangles in scopes.items():
            part = slice(*np.searchsorted(of_sample, [sample, sample + 1]))
            is_used[part] &= centre_in_scope(corners[part], rel_xywh_to_xyxy(rectangles, 1, 1))
        used = np.flatnonzero(is_used).tolist()
        unused = [self.ids[i] for i in np.flatnonzero(~is_used)]
        return StoredBoxes(
            sample=[self.sample[i] for i in used],
            ids=[self.ids[i] for i in used],
            labels=[self.labels[i] for i in used],
            xywh=xywh[is_used],
            values=np.asarray(self.values, np.float64)[is_used],
            left_out=[*self.left_out, *unused],
            problems={what: n for what, n in problems.items() if n},
        )


def _read(loop: Loop, gt_field: str, predictions: str) -> tuple[list[str], list[StoredBoxes]]:
    """The samples and the boxes of both fields, in one query."""
    names = ("_id", "label", "bounding_box", "confidence", *reading.CROWD)
    paths = {f"{path}.detections.{name}": 1 for path in (gt_field, predictions) for name in names}
    samples: list[str] = []
    true, predicted = _Columns(), _Columns()
    pipeline = [*loop.view._pipeline(), {"$project": paths}]
    # Few documents at once: Python's collector takes longer for thousands than reading does.
    options = {"allowDiskUse": True, "batchSize": 100}
    for document in loop.dataset._sample_collection.aggregate(pipeline, **options):
        for box in _stored(document, gt_field):
            former = (box.get("attributes") or {}).get("iscrowd") or {}
            true.add(len(samples), box, bool(box.get("iscrowd") or former.get("value")))
        for box in _stored(document, predictions):
            predicted.add(len(samples), box, box.get("confidence") or 0.0)
        samples.append(str(document["_id"]))
    drawn = scope.drawn(loop)
    scopes = {n: drawn[i] for n, i in enumerate(samples) if i in drawn}
    return samples, [true.usable(scopes), predicted.usable(scopes)]


def _stored(document: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    value: Any = document
    for name in (*path.split("."), "detections"):
        value = (value or {}).get(name)
    return value or []
