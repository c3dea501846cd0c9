"""An evaluation of detections as FiftyOne stores it, written in bulk from matches that are known.

FiftyOne's own `evaluate_detections` loads and saves every sample. A test compares every field and
result with those that it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import numpy as np
from bson import ObjectId
from fiftyone import ViewField as F
from fiftyone.utils.eval.coco import COCODetectionResults, COCOEvaluationConfig
from pymongo import UpdateOne

from unseen.dataset import locks
from unseen.dataset.matching import Matched
from unseen.detector.metrics import RECALLS
from unseen.errors import DatasetError

#: So many samples are written at once: their marks are in memory together.
AT_ONCE = 1000
#: Classes of label and prediction, IoU, confidence, ids of label and prediction; None for no partner.
_Row = tuple[str | None, str | None, float | None, float | None, str | None, str | None]
#: Field -> id of a box -> what is set on it.
_Marks = dict[str, dict[str, dict[str, Any]]]


def check_editable(dataset: Any, *fields: str) -> None:
    """Raise `DatasetError` if somebody made one of the fields of detections read-only."""
    for path in (p for field in fields for p in (field, f"{field}.detections")):
        if dataset.get_field(path).read_only:
            raise DatasetError(
                f"field {path!r} of dataset {dataset.name!r} is read-only, but an evaluation marks "
                "each of its boxes as right, wrong or missed; set read_only = False on "
                f"dataset.get_field({path!r}) and save() it"
            )


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
    rows, counts = _rows(matched, min_confidence), matched.metrics.counts.sum(axis=1).tolist()
    cuts = np.searchsorted(matched.predicted.sample, np.arange(len(rows) + 1)).tolist()
    for start in range(0, len(rows), AT_ONCE):
        locks.check(view._dataset)
        part = range(start, min(start + AT_ONCE, len(rows)))
        ops = []
        for i in part:
            own = slice(cuts[i], cuts[i + 1])
            named = zip(matched.predicted.ids[own], errors[own], strict=True)
            marks: _Marks = {gt_field: {}, field: {box: {"error": error} for box, error in named}}
            _mark(marks, rows[i], key, gt_field, field)
            ops.append(_update(matched.samples[i], key, counts[i], marks))
        view._dataset._bulk_write(ops, ids=[matched.samples[i] for i in part])
    curves = np.nan_to_num(matched.metrics.curves, nan=-1)  # FiftyOne's "no such object"
    results = COCODetectionResults(
        view,
        config,
        key,
        list(chain.from_iterable(rows)),
        precision=curves[None],
        recall=RECALLS,
        iou_threshs=[iou],
        classes=matched.classes,
        backend=evaluation,
    )
    evaluation.save_run_results(view, key, results)
    evaluation.add_fields_to_sidebar_group(view, key)


def _rows(matched: Matched, min_confidence: float) -> list[list[_Row]]:
    """Per sample what FiftyOne calls matches."""
    matches, predicted, true = matched.metrics.matches, matched.predicted, matched.true
    rows: list[list[_Row]] = [[] for _ in matched.samples]
    missed = dict.fromkeys(np.flatnonzero(matches.is_object).tolist())
    is_sure = (matches.predicted.scores >= min_confidence) & ~matches.is_ignored
    columns = (matches.order, matches.taken, matches.overlap, matches.predicted.scores)
    for i, j, overlap, score in zip(*(c[is_sure].tolist() for c in columns), strict=True):
        label, of_sample = predicted.labels[i], rows[predicted.sample[i]]
        if j < 0:
            of_sample.append((None, label, None, score, None, predicted.ids[i]))
            continue
        del missed[j]
        of_sample.append((label, label, overlap, score, true.ids[j], predicted.ids[i]))
    for j in missed:
        rows[true.sample[j]].append((true.labels[j], None, None, None, true.ids[j], None))
    return rows


def _mark(marks: _Marks, rows: Sequence[_Row], key: str, gt_field: str, field: str) -> None:
    for _, _, overlap, _, true, predicted in rows:
        outcome = "tp" if true and predicted else "fn" if true else "fp"
        for path, box, other in ((gt_field, true, predicted), (field, predicted, true)):
            if box:
                mark = {key: outcome, f"{key}_id": other or ""}
                marks[path].setdefault(box, {}).update(
                    mark, **{f"{key}_iou": overlap} if other else {}
                )


def _update(sample: str, key: str, counts: Sequence[int], marks: _Marks) -> UpdateOne:
    """Set the counts of a sample, and the marks on those of its boxes that still exist.

    By id and in the database, so that a list that somebody changes meanwhile keeps the change.
    """
    values: dict[str, Any] = {"last_modified_at": datetime.now(timezone.utc)}
    values |= {f"{key}_{name}": n for name, n in zip(("tp", "fp", "fn"), counts, strict=True)}
    for path, of_boxes in marks.items():
        if not of_boxes:
            continue
        of_each = [*of_boxes.values(), {}]  # at -1, for all other boxes, nothing
        place = {"$indexOfArray": [[ObjectId(i) for i in of_boxes], "$$box._id"]}
        mark = {"$arrayElemAt": [{"$literal": of_each}, place]}
        boxes = f"${path}.detections"
        marked = {"input": boxes, "as": "box", "in": {"$mergeObjects": ["$$box", mark]}}
        new = {"$mergeObjects": [f"${path}", {"detections": {"$map": marked}}]}
        values[path] = {"$cond": [{"$isArray": boxes}, new, f"${path}"]}
    return UpdateOne({"_id": ObjectId(sample)}, [{"$set": values}])
