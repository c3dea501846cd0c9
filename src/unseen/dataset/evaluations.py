"""An evaluation of detections as FiftyOne stores it, written in bulk from matches that are known.

FiftyOne's own `evaluate_detections` loads and saves every sample. A test compares every field and
result with those that it leaves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
from bson import ObjectId
from fiftyone import ViewField as F
from fiftyone.utils.eval.coco import COCODetectionResults, COCOEvaluationConfig
from pymongo import UpdateOne

from unseen.dataset import locks
from unseen.dataset.matching import Matched, StoredBoxes
from unseen.detector.metrics import RECALLS

#: So many samples are written at once: their marks are in memory together.
AT_ONCE = 1000
#: What FiftyOne writes where a box has no partner.
_NO_ID = ""
#: Field -> id of a box -> what is set on it.
_Marks = dict[str, dict[str, dict[str, Any]]]


def store(
    matched: Matched,
    key: str,
    *,
    gt_field: str,
    field: str,
    iou: float,
    min_confidence: float,
    errors: Sequence[str | None],
) -> None:
    """Mark the confident predictions and the labels, and keep the AP of all predictions beside.

    `errors` are of all predictions of `matched`, in their order; their attribute `error` says them.
    """
    confident = F("confidence") >= min_confidence
    view = matched.view.filter_labels(field, confident, only_matches=False)
    config = COCOEvaluationConfig(
        field, gt_field, iou=iou, classwise=True, compute_mAP=True, iou_threshs=[iou]
    )
    config.max_preds = None  # all count towards the curves
    evaluation = config.build()
    evaluation.register_run(view, key)
    evaluation.register_samples(view, key)
    rows, marks = _outcomes(matched, key, gt_field, field, min_confidence, errors)
    counts = matched.metrics.counts.sum(axis=1).tolist()
    for start in range(0, len(matched.samples), AT_ONCE):
        locks.check(view._dataset)
        part = range(start, min(start + AT_ONCE, len(matched.samples)))
        ops = [_update(matched.samples[i], key, counts[i], marks[i]) for i in part]
        view._dataset._bulk_write(ops, ids=[matched.samples[i] for i in part])
    results = COCODetectionResults(
        view,
        config,
        key,
        rows,
        precision=np.nan_to_num(matched.metrics.curves, nan=-1)[
            None
        ],  # FiftyOne's "no such object"
        recall=RECALLS,
        iou_threshs=[iou],
        classes=matched.classes,
        backend=evaluation,
    )
    evaluation.save_run_results(view, key, results)
    evaluation.add_fields_to_sidebar_group(view, key)


def _outcomes(
    matched: Matched,
    key: str,
    gt_field: str,
    field: str,
    min_confidence: float,
    errors: Sequence[str | None],
) -> tuple[list[tuple[Any, ...]], list[_Marks]]:
    """FiftyOne's rows (classes, IoU, confidence, ids), and per sample the marks of its boxes."""
    matches, predicted, true = matched.metrics.matches, matched.predicted, matched.true
    marks: list[_Marks] = [defaultdict(dict) for _ in matched.samples]

    def mark(path: str, boxes: StoredBoxes, place: int, *outcome: Any) -> None:
        of_box = dict(zip((key, f"{key}_id", f"{key}_iou"), outcome, strict=False))
        marks[boxes.sample[place]][path].setdefault(boxes.ids[place], {}).update(of_box)

    for sample, box, error in zip(predicted.sample, predicted.ids, errors, strict=True):
        marks[sample][field][box] = {"error": error}
    rows: list[tuple[Any, ...]] = []
    missed = dict.fromkeys(np.flatnonzero(matches.is_object).tolist())
    is_sure = (matches.predicted.scores >= min_confidence) & ~matches.is_ignored
    columns = (matches.order, matches.taken, matches.overlap, matches.predicted.scores)
    for i, j, overlap, score in zip(*(c[is_sure].tolist() for c in columns), strict=True):
        label, box = predicted.labels[i], predicted.ids[i]
        if j < 0:
            mark(field, predicted, i, "fp", _NO_ID)
            rows.append((None, label, None, score, None, box))
            continue
        del missed[j]
        found = true.ids[j]
        mark(field, predicted, i, "tp", found, overlap)
        mark(gt_field, true, j, "tp", box, overlap)
        rows.append((label, label, overlap, score, found, box))
    for j in missed:
        mark(gt_field, true, j, "fn", _NO_ID)
        rows.append((true.labels[j], None, None, None, true.ids[j], None))
    return rows, marks


def _update(sample: str, key: str, counts: Sequence[int], marks: _Marks) -> UpdateOne:
    """Set the counts of a sample, and the marks on those of its boxes that still exist.

    By id and in the database, so that a list that somebody changes meanwhile keeps the change.
    """
    values: dict[str, Any] = {"last_modified_at": datetime.now(timezone.utc)}
    values |= {f"{key}_{name}": n for name, n in zip(("tp", "fp", "fn"), counts, strict=True)}
    for path, of_boxes in marks.items():
        ids, of_each = (
            [ObjectId(i) for i in of_boxes],
            [*of_boxes.values(), {}],
        )  # the last, {}, is for other boxes
        place = {"$indexOfArray": [ids, "$$box._id"]}
        mark = {"$arrayElemAt": [{"$literal": of_each}, place]}
        boxes = f"${path}.detections"
        marked = {"input": boxes, "as": "box", "in": {"$mergeObjects": ["$$box", mark]}}
        new = {"$mergeObjects": [f"${path}", {"detections": {"$map": marked}}]}
        values[path] = {"$cond": [{"$isArray": boxes}, new, f"${path}"]}
    return UpdateOne({"_id": ObjectId(sample)}, [{"$set": values}])
