"""Predictions against labels of a view: what counts, by the rules of COCO, and what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from bson import ObjectId

from unseen.arrays.boxes import as_boxes, clean_boxes, rel_xywh_to_xyxy
from unseen.arrays.scope import centre_in_scope
from unseen.dataset import reading, scope
from unseen.dataset.loop import Loop
from unseen.detector.metrics import DetectionMetrics, detection_metrics


class _Row(NamedTuple):
    """A box as it is stored."""

    sample: int
    position: int
    id: ObjectId
    label: str | None
    rel: list[float] | None
    value: float


@dataclass(frozen=True)
class StoredBoxes:
    """The boxes of one field that count, in the order of the samples."""

    sample: list[int]  #: (N,) number of the sample
    position: list[int]  #: (N,) in the stored list of the sample
    ids: list[ObjectId]  #: (N,)
    labels: list[str]  #: (N,)
    xywh: np.ndarray  #: (N, 4) relative
    values: np.ndarray  #: (N,) confidence; of labels, whether it is a crowd
    lists: list[list[ObjectId]]  #: per sample the ids of all boxes, in the stored order
    left_out: list[ObjectId]  #: those that do not count
    problems: dict[str, int]  #: why not: "empty", "not finite", ...


@dataclass(frozen=True)
class Matched:
    """What a detector predicted, measured."""

    view: Any  #: the samples with the labels and predictions that count
    classes: list[str]  #: as given, and those that only labels or predictions have
    samples: list[ObjectId]
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
        ids = [str(box) for box in left_out]
        view = view.exclude_labels(ids=ids, fields=fields, omit_empty=False)
    return Matched(view, known, samples, predicted, true, metrics)


def _read(loop: Loop, *fields: str) -> tuple[list[ObjectId], list[StoredBoxes]]:
    """The samples and the boxes of both fields as they are stored, in one query."""
    names = ("_id", "label", "bounding_box", "confidence", *reading.CROWD)
    paths = {f"{field}.detections.{name}": 1 for field in fields for name in names}
    samples: list[ObjectId] = []
    rows: list[list[_Row]] = [[] for _ in fields]
    lists: list[list[list[ObjectId]]] = [[] for _ in fields]
    pipeline = [*loop.view._pipeline(), {"$project": paths}]
    for document in loop.dataset._sample_collection.aggregate(pipeline, allowDiskUse=True):
        for field, is_truth, of_field, ids in zip(fields, (True, False), rows, lists, strict=True):
            boxes = reduce(lambda d, name: d.get(name) or {}, field.split("."), document)
            boxes = boxes.get("detections") or []
            ids.append([box["_id"] for box in boxes])
            of_field += [
                _Row(len(samples), k, box["_id"], box.get("label"), box.get("bounding_box"), value)
                for k, box in enumerate(boxes)
                for value in [_is_crowd(box) if is_truth else box.get("confidence") or 0.0]
            ]
        samples.append(document["_id"])
    drawn = scope.drawn(loop)
    scopes = {n: drawn[str(i)] for n, i in enumerate(samples) if str(i) in drawn} if drawn else {}
    return samples, [_usable(*stored, scopes) for stored in zip(rows, lists, strict=True)]


def _is_crowd(box: Mapping[str, Any]) -> bool:
    former = (box.get("attributes") or {}).get("iscrowd") or {}
    return bool(box.get("iscrowd") or former.get("value"))


def _usable(
    rows: list[_Row], lists: list[list[ObjectId]], scopes: Mapping[int, scope.Scope]
) -> StoredBoxes:
    """The boxes that have a class and a place in the image, and in the scope where there is one."""
    placed = [row for row in rows if row.label and row.rel]
    xywh = as_boxes([row.rel or () for row in placed], np.float64)
    corners = rel_xywh_to_xyxy(xywh, 1, 1)
    # Not clipped: COCO's reference does not either.
    _, kept, wrong = clean_boxes(corners, np.arange(len(placed)), 1, 1)
    problems = Counter({what: n for what, n in wrong.items() if what != "clipped"})
    problems["without a class or a place"] = len(rows) - len(placed)
    if scopes:
        of_sample = np.asarray([placed[i].sample for i in kept])
        is_in = np.ones(len(kept), bool)
        for sample, rectangles in scopes.items():
            part = slice(*np.searchsorted(of_sample, [sample, sample + 1]))
            is_in[part] = centre_in_scope(corners[kept[part]], rel_xywh_to_xyxy(rectangles, 1, 1))
        kept = kept[is_in]
    counted = [placed[i] for i in kept.tolist()]
    usable = {row.id for row in counted}
    return StoredBoxes(
        sample=[row.sample for row in counted],
        position=[row.position for row in counted],
        ids=[row.id for row in counted],
        labels=[str(row.label) for row in counted],
        xywh=xywh[kept],
        values=np.asarray([row.value for row in counted], np.float64),
        lists=lists,
        left_out=[row.id for row in rows if row.id not in usable],
        problems={what: n for what, n in problems.items() if n},
    )
