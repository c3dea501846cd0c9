"""The values of the ranking metric, the batch in rank order, and what labels say about the ranking.

One pass over the samples with a projected cursor; heatmaps and vectors stay in the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from bson import ObjectId

from unseen.dataset.fields import REMOVED, SENT, Names
from unseen.dataset.loop import Loop
from unseen.dataset.structure import scored_mark
from unseen.loop.overview_data import BatchRow
from unseen.loop.records import Records
from unseen.ranking import SCORED_STRATEGIES

#: Samples whose values the database puts into one document.
SAMPLES_PER_PART = 20_000
#: Strategies that rank by something else than the chosen metric.
_OWN_METRIC = {"entropy": "entropy", "foreground": "foreground"}


@dataclass(frozen=True)
class Values:
    """What one pass over the samples finds."""

    pool: np.ndarray  #: (N,) float64 metric of the pool, without the batch
    batch: np.ndarray  #: (M,) float64 metric of the batch, where the same UNet scored it
    candidates: np.ndarray  #: (N + K,) float64 metric of all that is unlabelled in the two
    test_labels: list[list[str]]  #: per labelled test image, the class of each box


@dataclass(frozen=True)
class LabelledBatch:
    """A ranked batch that came back, and images that were chosen another way."""

    name: str  #: its tag
    ids: list[str]  #: of its ranked images that have labels
    ranked: list[list[str]]  #: per ranked image of the batch, the class of each box
    random: list[list[str]]  #: of images that were drawn at random
    initial: list[list[str]]  #: of the initial images
    counts_before: Mapping[str, int]  #: boxes per class when the batch was chosen
    others: dict[str, list[list[str]]] = field(default_factory=dict)  #: other series, by strategy


def metric_of(records: Records, given: str | None) -> str:
    """The metric as given, or the one that ranked the newest ranked batch; "excess" before."""
    if given:
        return given
    for _, steps in sorted(records.steps.items(), reverse=True):
        chosen = (steps.get("select_batch") or {}).get("parameters") or {}
        if chosen.get("strategy") in SCORED_STRATEGIES:
            found: str = _OWN_METRIC.get(chosen["strategy"], chosen.get("metric") or "excess")
            return found
    return "excess"


def newest_mark(records: Records) -> str | None:
    """The mark of the UNet whose scores are the newest, also where a newer UNet was trained."""
    entry = newest_scores(records)
    return scored_mark(entry) if entry.get("digest") else None


def newest_scores(records: Records) -> dict[str, Any]:
    """The newest entry of `score_samples`, or an empty one."""
    for _, steps in sorted(records.steps.items(), reverse=True):
        if "score_samples" in steps:
            found: dict[str, Any] = steps["score_samples"]
            return found
    return {}


def division(records: Records, tag: str | None) -> str:
    """What was rehearsed before a batch was chosen, and how it was divided; "" for other strategies."""
    for steps in records.steps.values():
        entry = steps.get("select_batch") or {}
        if tag is not None and entry.get("batch") == tag:
            return str(entry.get("trust", ""))
    return ""


def known_classes(loop: Loop, records: Records) -> list[str]:
    """The class list as the dataset keeps it, else as the newest detector or UNet learned it."""
    kept = loop.dataset.classes.get(loop.names.label_field) or loop.dataset.default_classes
    if kept:
        return [str(c) for c in kept]
    for _, steps in sorted(records.steps.items(), reverse=True):
        for name in ("train_detector", "train_unet"):
            found = (steps.get(name) or {}).get("classes")
            if found:
                return [str(c) for c in found]
    return []


def read_values(loop: Loop, metric: str, mark: str | None, batch_tag: str | None) -> Values:
    """The metric of pool and batch, and the labels of the test split, in one pass.

    Args:
        loop: the loop.
        metric: the field of the metric.
        mark: of the UNet whose values count; None = whatever is there.
        batch_tag: tag of the batch, if there is one.
    """
    tags = {"$ifNull": ["$tags", []]}
    is_labelled = {"$gt": [f"${loop.names.label_field}", None]}
    state = {"$ifNull": [f"${loop.names.annotation}", None]}
    has_value: dict[str, Any] = {"$isNumber": f"${metric}"}
    if mark is not None:
        has_value = {"$and": [has_value, {"$eq": [f"${loop.names.model}", mark]}]}
    # 0 = of no interest, 1 = pool, 2 and 3 = batch without and with labels, 4 = labelled test split
    kind = {
        "$switch": {
            "branches": [
                {
                    "case": {"$in": [loop.names.test_tag, tags]},
                    "then": {"$cond": [is_labelled, 4, 0]},
                },
                {"case": {"$not": [has_value]}, "then": 0},
                {
                    "case": {"$in": [batch_tag or "", tags]},
                    "then": {"$cond": [is_labelled, 3, 2]},
                },
                {"case": {"$in": [loop.names.excluded_tag, tags]}, "then": 0},
                {"case": is_labelled, "then": 0},
                {"case": {"$in": [state, [SENT, REMOVED]]}, "then": 0},
            ],
            "default": 1,
        }
    }
    labels = f"${loop.names.label_field}.detections.label"
    # One document per kind instead of one per sample, in parts that stay below MongoDB's 16 MB.
    parts = 1 + loop.dataset._sample_collection.estimated_document_count() // SAMPLES_PER_PART
    part = {"$floor": {"$multiply": [{"$rand": {}}, parts]}} if parts > 1 else {"$literal": 0}
    pipeline = [
        {"$project": {"_id": 0, "k": kind, "v": f"${metric}", "c": labels}},
        {"$match": {"k": {"$gt": 0}}},
        {
            "$group": {
                "_id": {"k": "$k", "part": part},
                "v": {"$push": {"$cond": [{"$lt": ["$k", 4]}, "$v", "$$REMOVE"]}},
                "c": {"$push": {"$cond": [{"$eq": ["$k", 4]}, "$c", "$$REMOVE"]}},
            }
        },
    ]
    found: dict[int, list[float]] = {1: [], 2: [], 3: []}
    test: list[list[str]] = []
    for row in loop.dataset._sample_collection.aggregate(pipeline, allowDiskUse=True):
        if row["_id"]["k"] == 4:
            test += [_classes(labels) for labels in row["c"]]
        else:
            found[row["_id"]["k"]] += row["v"]
    pool, open_batch, labelled = (_finite(found[kind]) for kind in (1, 2, 3))
    return Values(
        pool=pool,
        batch=np.concatenate([open_batch, labelled]),
        candidates=np.concatenate([pool, open_batch]),
        test_labels=test,
    )


def read_rows(loop: Loop, metric: str, batch_tag: str, records: Records) -> list[BatchRow]:
    """The batch in rank order; images without a rank by path, last."""
    regions = {"$ifNull": [f"${loop.names.regions}.detections", None]}
    projection = {
        "filepath": 1,
        "rank": f"${loop.names.rank}",
        "value": f"${metric}",
        "regions": {"$cond": [{"$isArray": regions}, {"$size": regions}, None]},
        "labelled": {"$gt": [f"${loop.names.label_field}", None]},
        "annotation": f"${loop.names.annotation}",
        "url": f"${loop.names.annotation_url}",
        "chosen_by": f"${loop.names.chosen_by}",
    }
    ids = _recorded_ids(records, batch_tag)
    match: dict[str, Any] = {"tags": batch_tag}
    if ids:  # an index serves the ids, but none the tags
        match = {"_id": {"$in": [ObjectId(i) for i in ids]}, "tags": batch_tag}
    pipeline = [{"$match": match}, {"$project": projection}]
    rows = [
        BatchRow(
            sample_id=str(row["_id"]),
            rank=row.get("rank"),
            filename=PurePath(row.get("filepath") or "").name,
            value=_number(row.get("value")),
            regions=row.get("regions"),
            is_labelled=bool(row["labelled"]),
            annotation=row.get("annotation"),
            url=row.get("url"),
            chosen_by=row.get("chosen_by"),
        )
        for row in loop.dataset._sample_collection.aggregate(pipeline)
    ]
    return sorted(rows, key=lambda r: (r.rank is None, r.rank or 0, r.filename))


def labelled_batch(loop: Loop, records: Records) -> LabelledBatch | None:
    """The newest ranked batch of which every image still there has labels, or None."""
    for _, record in sorted(records.records.items(), reverse=True):
        entry: dict[str, Any] = (record.get("steps") or {}).get("select_batch") or {}
        chosen = entry.get("parameters") or {}
        ids = [str(i) for i in entry.get("batch_ids") or ()]
        if chosen.get("strategy") not in SCORED_STRATEGIES or not ids:
            continue
        found = _labels(loop.dataset, loop.names.label_field, ids)
        # Half of it says something already; an image that was removed never gets labels.
        if 2 * len(found) < len(ids):
            continue
        at_random = round(float(chosen.get("random_share") or 0) * len(ids))
        split = len(ids) - at_random
        number = loop.names.batch_number(entry.get("batch") or "") or 0
        others = _other_series(loop, records, number)
        return LabelledBatch(
            name=entry["batch"],
            ids=[i for i in ids[:split] if i in found],
            ranked=[found[i] for i in ids[:split] if i in found],
            random=[found[i] for i in ids[split:] if i in found] + others.pop("random", []),
            initial=_initial(loop, records),
            counts_before=dict(record.get("class_counts") or {}),
            others=others,
        )
    return None


def random_parts(loop: Loop, records: Records) -> list[LabelledBatch]:
    """The ranked batches of this loop with labelled images that were drawn at random, in order."""
    found = []
    for _, record in sorted(records.records.items()):
        entry: dict[str, Any] = (record.get("steps") or {}).get("select_batch") or {}
        chosen = entry.get("parameters") or {}
        ids = [str(i) for i in entry.get("batch_ids") or ()]
        at_random = round(float(chosen.get("random_share") or 0) * len(ids))
        if chosen.get("strategy") not in SCORED_STRATEGIES or not at_random:
            continue
        labels = _labels(loop.dataset, loop.names.label_field, ids)
        split = len(ids) - at_random
        found.append(
            LabelledBatch(
                name=entry["batch"],
                ids=[i for i in ids[:split] if i in labels],
                ranked=[labels[i] for i in ids[:split] if i in labels],
                random=[labels[i] for i in ids[split:] if i in labels],
                initial=[],
                counts_before=dict(record.get("class_counts") or {}),
            )
        )
    return found


def median_value(dataset: Any, metric: str, ids: Sequence[str]) -> float | None:
    """The median of a metric over some samples, or None if none of them has a value."""
    rows = dataset._sample_collection.find(
        {"_id": {"$in": [ObjectId(i) for i in ids]}}, {"_id": 0, metric: 1}
    )
    values = [v for row in rows if (v := _number(row.get(metric))) is not None]
    return float(np.median(values)) if values else None


def _other_series(loop: Loop, records: Records, number: int) -> dict[str, list[list[str]]]:
    """Labels of the same batch in the series that rank another way, by strategy."""
    found: dict[str, list[list[str]]] = {}
    for series, by_number in records.all_series.items():
        if series == loop.names.series:
            continue
        for record in by_number.values():
            entry = (record.get("steps") or {}).get("select_batch") or {}
            strategy = (entry.get("parameters") or {}).get("strategy")
            own = Names(prefix=loop.names.prefix, series=series)
            if strategy in SCORED_STRATEGIES or not strategy:
                continue
            if own.batch_number(entry.get("batch") or "") != number:
                continue
            ids = [str(i) for i in entry.get("batch_ids") or ()]
            labels = _labels(loop.dataset, record.get("label_field") or "", ids)
            if not labels:  # a finished simulation deletes the labels of its baselines
                labels = _labels(loop.dataset, _measured_against(by_number), ids)
            found.setdefault(strategy, []).extend(labels.values())
    return {strategy: labels for strategy, labels in found.items() if labels}


def _measured_against(loop: Mapping[int, Mapping[str, Any]]) -> str:
    """The field with the complete labels that a simulated series was measured against."""
    for record in loop.values():
        entry = (record.get("steps") or {}).get("evaluate_detector") or {}
        given = (entry.get("parameters") or {}).get("gt_field")
        if given:
            return str(given)
    return ""


def _initial(loop: Loop, records: Records) -> list[list[str]]:
    ids = (records.records.get(0) or {}).get("labelled_ids") or ()
    return list(_labels(loop.dataset, loop.names.label_field, [str(i) for i in ids]).values())


def _labels(dataset: Any, label_field: str, ids: Sequence[str]) -> dict[str, list[str]]:
    """Sample id -> the class of each box, of the samples that have labels."""
    if not ids or not label_field:
        return {}
    pipeline = [
        {"$match": {"_id": {"$in": [ObjectId(i) for i in ids]}, label_field: {"$ne": None}}},
        {"$project": {"c": f"${label_field}.detections.label"}},
    ]
    rows = dataset._sample_collection.aggregate(pipeline)
    return {str(row["_id"]): _classes(row.get("c")) for row in rows}


def _recorded_ids(records: Records, batch_tag: str) -> list[str]:
    for steps in records.steps.values():
        entry = steps.get("select_batch") or {}
        if entry.get("batch") == batch_tag:
            return [str(i) for i in entry.get("batch_ids") or ()]
    return []


def _classes(stored: Any) -> list[str]:
    return [str(label) for label in stored if label] if isinstance(stored, list) else []


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    finite: np.ndarray = array[np.isfinite(array)]
    return finite


def _number(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or not np.isfinite(value):
        return None
    return float(value)
