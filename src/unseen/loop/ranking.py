"""The values of the ranking metric, the batch in rank order, and the labels that judge a ranking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from bson import ObjectId
from fiftyone import ViewExpression
from fiftyone import ViewField as F

from unseen.dataset import indexes, labelling
from unseen.dataset.fields import REMOVED, SENT, Names
from unseen.dataset.loop import Loop, Record
from unseen.dataset.structure import scored_mark
from unseen.loop.facts import Kind, Records
from unseen.loop.overview_data import BatchRow, Histogram
from unseen.loop.trust import Evidence, Images, LabelledBatch
from unseen.ranking import SCORED_STRATEGIES, ranking_metric
from unseen.ranking.mixed import CRITERIA

#: Documents in which the database sends the values of one kind of samples.
PARTS = 64
#: With fewer images than this to compare with, a larger group is preferred.
FEW_IMAGES = 10


def metric_of(records: Records) -> str:
    """The metric that ranked the newest ranked batch; "excess" before there is one."""
    for entry in records.entries("select_batch"):
        chosen = entry.get("parameters") or {}
        strategy = chosen.get("strategy")
        if strategy in SCORED_STRATEGIES:
            return ranking_metric(strategy, chosen.get("metric") or "excess")
    return "excess"


def known_classes(loop: Loop, records: Records) -> list[str]:
    """The class list of the dataset, and what the newest detector or else UNet has learned since."""
    learned = (
        record["steps"].get(step, {}).get("classes")
        for record in reversed(records.records.values())
        for step in ("train_detector", "train_unet")
    )
    newest = map(str, next(filter(None, learned), ()))
    return list(dict.fromkeys([*loop.listed_classes(), *newest]))


# --- values ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Values:
    """What is read of the samples; the metrics are finite float64."""

    pool: np.ndarray  #: (N,) metric of the pool, without the batch
    batch: np.ndarray  #: (M,) metric of the batch
    candidates: np.ndarray  #: (N + K,) metric of the pool and of the batch's unlabelled images
    test_labels: list[list[str]]  #: per labelled test image, the class of each box


def read_values(loop: Loop, metric: str, records: Records, batch_tag: str | None) -> Values:
    """A metric of pool and batch, as the newest scores have it, and the test labels."""
    scores = records.newest("score_samples")
    mark = scored_mark(scores) if scores.get("digest") else None
    values: dict[str, list[float]] = {"pool": [], "batch": [], "labelled batch": []}
    test: list[list[str]] = []
    read: list[float] = []
    for kind, numbers, labels in _of_kinds(loop, metric, mark):
        if kind.place == "test":
            test += [_classes(of_image) for of_image in labels if kind.is_labelled]
        if mark is not None and not kind.is_scored:
            continue
        read += numbers
        if batch_tag in kind.tags and kind.place != "test":
            values["labelled batch" if kind.is_labelled else "batch"] += numbers
        elif kind.place == "pool":
            values["pool"] += numbers
    pool, batch, labelled = (_finite(group) for group in values.values())
    pool = np.concatenate([pool, without(_all_values(loop, metric, mark), _finite(read))])
    return Values(
        pool=pool,
        batch=np.concatenate([batch, labelled]),
        candidates=np.concatenate([pool, batch]),
        test_labels=test,
    )


def _of_kinds(
    loop: Loop, metric: str, mark: str | None
) -> Iterator[tuple[Kind, list[float], list[Any]]]:
    """Of the samples that are not plain ones of the pool: kind, values, labels of the test split."""
    names = loop.names
    # A few documents per kind of sample instead of one per sample, each below 16 MB.
    part = {"$floor": {"$multiply": [{"$rand": {}}, PARTS]}}
    is_test = {"$in": [names.test_tag, "$kind.tags"]}
    project = {
        "kind": Kind.expression(loop, mark),
        "value": f"${names.metric(metric)}",
        "labels": f"${names.label_field}.detections.label",
    }
    group = {
        "_id": {"kind": "$kind", "part": part},
        "values": {"$push": {"$cond": [{"$isNumber": "$value"}, "$value", "$$REMOVE"]}},
        "labels": {"$push": {"$cond": [is_test, "$labels", "$$REMOVE"]}},
    }
    some = {"$match": indexes.not_plain(names, loop.own_tags)}
    pipeline = [some, {"$project": project}, {"$group": group}]
    for row in loop.dataset._sample_collection.aggregate(pipeline, allowDiskUse=True):
        yield Kind.read(row["_id"]["kind"], names), row["values"], row["labels"]


def _all_values(loop: Loop, metric: str, mark: str | None) -> np.ndarray:
    """Every finite value of a field, by the scores with a mark; an index holds them."""
    path = loop.names.metric(metric)
    query: dict[str, Any] = indexes.scored(loop.names, mark, metric) if mark else {}
    query[path] = {**query.get(path, {}), "$type": "number"}
    # In small batches: 16 MB of them are ten times as much as Python objects.
    rows = loop.dataset._sample_collection.find(query, {"_id": 0, path: 1}, batch_size=5000)
    values = np.fromiter((row[path] for row in rows), np.float64)
    return np.asarray(values[np.isfinite(values)])


def without(values: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Values (N,) without one of them for each of `some` (M,); ascending.

    >>> without(np.asarray([3.0, 1.0, 2.0, 1.0]), np.asarray([1.0, 3.0]))
    array([1., 2.])
    """
    values, some = np.sort(values), np.sort(some)
    number = np.arange(len(some)) - np.searchsorted(some, some)  # among those of the same value
    places = np.searchsorted(values, some) + number
    return np.delete(values, places[places < len(values)])


def counted_view(loop: Loop, records: Records, batch_tag: str | None) -> Any:
    """The view of the images that `read_values` counts as pool and batch."""
    names, scores = loop.names, records.newest("score_samples")
    is_counted = ~F("tags").contains([names.test_tag, names.excluded_tag])
    is_counted &= ~ViewExpression(loop.is_labelled)
    if loop.dataset.get_field(names.annotation) is not None:
        is_counted &= ~F(names.annotation).is_in([SENT, REMOVED])
    if batch_tag is not None:
        is_counted |= F("tags").contains(batch_tag) & ~F("tags").contains(names.test_tag)
    if scores.get("digest"):
        is_counted &= F(names.model) == scored_mark(scores)
    return loop.dataset.match(is_counted)


def median_value(dataset: Any, metric: str, ids: Sequence[str]) -> float | None:
    """The median of a metric over some samples, or None if none of them has a value."""
    wanted = {"_id": {"$in": [ObjectId(i) for i in ids]}}
    rows = dataset._sample_collection.find(wanted, {"_id": 0, metric: 1})
    values = [v for row in rows if (v := _number(row.get(metric))) is not None]
    return float(np.median(values)) if values else None


def read_rows(loop: Loop, metric: str, batch_tag: str, records: Records) -> list[BatchRow]:
    """The batch in rank order; images without a rank come last, by path."""
    names = loop.names
    regions = {"$ifNull": [f"${names.regions}.detections", None]}
    projection = {
        "filepath": 1,
        "rank": f"${names.rank}",
        "value": f"${metric}",
        "regions": {"$cond": [{"$isArray": regions}, {"$size": regions}, None]},
        "labelled": loop.is_labelled,
        "annotation": f"${names.annotation}",
        "url": f"${names.annotation_url}",
        "chosen_by": f"${names.chosen_by}",
    }
    match: dict[str, Any] = {"tags": batch_tag}
    entry = records.batch(batch_tag)
    if ids := entry.get("batch_ids"):  # an index serves the ids, none the tags
        match["_id"] = {"$in": [ObjectId(i) for i in ids]}
    pipeline = [{"$match": match}, {"$project": projection}]
    rows = [
        BatchRow(
            sample_id=str(row["_id"]),
            filename=PurePath(row.get("filepath") or "").name,
            value=_number(row.get("value")),
            is_labelled=bool(row["labelled"]),
            chosen_for=_reason(row, entry),
            **{k: row.get(k) for k in ("rank", "regions", "annotation", "url", "chosen_by")},
        )
        for row in loop.dataset._sample_collection.aggregate(pipeline)
    ]
    return sorted(rows, key=lambda r: (r.rank is None, r.rank or 0, r.filename))


def _reason(row: Mapping[str, Any], entry: Record) -> str:
    """What an image was chosen for, as far as that is on record."""
    if row.get("chosen_by") in CRITERIA:
        return CRITERIA[row["chosen_by"]].seeks
    if not entry or row.get("rank") is None:
        return ""
    chosen = entry["parameters"]
    if row["rank"] > _ranked_images(entry) or chosen["strategy"] == "random":
        return "at random"
    if chosen["strategy"] in SCORED_STRATEGIES:
        return f"high {ranking_metric(chosen['strategy'], chosen.get('metric') or 'excess')}"
    return str(chosen["strategy"])


# --- histogram -------------------------------------------------------------------------------------
#: Bins at most.
BINS = 60
#: Quantile at which the axis ends; what lies above goes into the last bin.
UPPER = 0.99
#: The axis never reaches further than this many times the upper quantile.
STRETCH = 4.0


def histogram(pool: np.ndarray, batch: np.ndarray) -> Histogram | None:
    """Counts of pool (N,) and batch (M,) over the same bins; the last bin is open.

    The axis ends at the 99 % quantile of all values, or at the batch's median if that is higher:
    the batch holds the highest values, which must not all fall into one bin. None without values.
    """
    values = np.concatenate([pool, batch]).astype(np.float64)
    if not len(values):
        return None
    low, top = float(values.min()), float(values.max())
    reach = float(np.quantile(values, UPPER))
    if len(batch):
        reach = max(reach, min(float(np.median(batch)), low + STRETCH * (reach - low)))
    if reach <= low:  # nearly all are equal: one bin for them, one for the rest
        step = max(top - low, abs(low) * 1e-6, 1e-9)
        edges = np.asarray([low, low + step / 2, low + step])
    else:
        bins = int(min(BINS, max(5, 2 * len(values) ** 0.5)))
        edges = np.linspace(low, reach, bins + 1)
    open_edges = [*edges[:-1], np.inf]
    return Histogram(
        edges=edges.tolist(),
        pool=np.histogram(pool, open_edges)[0].tolist(),
        batch=np.histogram(batch, open_edges)[0].tolist(),
        maximum=top,
        is_open=bool(top > edges[-1]),
    )


# --- labels ----------------------------------------------------------------------------------------
def ranked_batches(loop: Loop, records: Records) -> list[LabelledBatch]:
    """The labels of every ranked batch, newest first."""
    chosen = []
    for record in reversed(records.records.values()):
        entry = record["steps"].get("select_batch") or {}
        if entry and entry["parameters"]["strategy"] in SCORED_STRATEGIES:
            chosen.append((entry, record.get("class_counts") or {}))
    every_id = [i for entry, _ in chosen for i in entry["batch_ids"]]
    labels = _labels(loop.dataset, loop.names.label_field, every_id)
    batches = []
    for entry, counts_before in chosen:
        ids = entry["batch_ids"]
        split = _ranked_images(entry)
        ranked = [i for i in ids[:split] if i in labels]
        batches.append(
            LabelledBatch(
                name=entry["batch"],
                images=len(ids),
                ids=ranked,
                ranked=[labels[i] for i in ranked],
                random=[labels[i] for i in ids[split:] if i in labels],
                counts_before=counts_before,
            )
        )
    return batches


def _ranked_images(entry: Record) -> int:
    """How many images the ranking chose; those after were drawn, also to fill a batch."""
    images = len(entry["batch_ids"])
    wanted = images - round(float(entry["parameters"].get("random_share") or 0) * images)
    return min(wanted, int(entry.get("pool", images)) - int(entry.get("unscored", 0)))


def read_evidence(loop: Loop, records: Records, test_labels: list[list[str]]) -> Evidence | None:
    """The newest ranked batch of which at least half has labels, and what to compare it with.

    That is random images, else the test split, else batches of series that rank another way, else
    the initial images.
    """
    # Half of a batch says something already; removed images never get labels.
    batches = ranked_batches(loop, records)
    labelled = (b for b in batches if 2 * (len(b.ranked) + len(b.random)) >= b.images > 0)
    batch = next(labelled, None)
    if batch is None or not batch.ranked:
        return None
    others = _other_series(loop, records, batch.name)
    choices: list[tuple[str, Images, bool]] = [
        ("drawn at random", [*batch.random, *others.pop("random", [])], True),
        ("of the test split", test_labels, True),
        *((f"chosen by {name}", images, True) for name, images in others.items()),
        ("labelled at the start", _initial(loop, records), False),
    ]
    # A handful of random images says less than the test split does.
    choices.sort(key=lambda choice: (not choice[2], len(choice[1]) < FEW_IMAGES))
    how, compared, is_fair = next((c for c in choices if c[1]), choices[-1])
    return Evidence(batch=batch, compared=compared, how=how, is_fair=is_fair)


def _other_series(loop: Loop, records: Records, batch_name: str) -> dict[str, list[list[str]]]:
    """Labels of the same batch in the series that do not rank by scores, by strategy."""
    names = loop.names
    number = names.batch_number(batch_name)
    by_strategy: dict[str, list[list[str]]] = {}
    for series, own in records.all_series.items():
        own_names = Names(prefix=names.prefix, series=series)
        for record in own.values() if series != names.series else ():
            entry = record["steps"].get("select_batch") or {}
            strategy = (entry.get("parameters") or {}).get("strategy")
            is_same = own_names.batch_number(entry.get("batch") or "") == number
            if not strategy or strategy in SCORED_STRATEGIES or not is_same:
                continue
            ids = entry.get("batch_ids") or []
            labels = _labels(loop.dataset, record.get("label_field") or "", ids)
            if not labels:  # a finished simulation deletes the labels of its baselines
                labels = _labels(loop.dataset, _measured_against(own), ids)
            if labels:
                by_strategy.setdefault(strategy, []).extend(labels.values())
    return by_strategy


def _measured_against(records: Mapping[int, Record]) -> str:
    """The field with the complete labels that a simulated series was measured against."""
    entries = (record["steps"].get("evaluate_detector") or {} for record in records.values())
    fields = ((entry.get("parameters") or {}).get("gt_field") for entry in entries)
    return next((str(field) for field in fields if field), "")


def _initial(loop: Loop, records: Records) -> list[list[str]]:
    ids = labelling.ids_until(loop, 0)
    return list(_labels(loop.dataset, loop.names.label_field, ids).values())


def _labels(dataset: Any, label_field: str, ids: Sequence[str]) -> dict[str, list[str]]:
    """Sample id -> the class of each box, of the samples that have labels."""
    if not ids or not label_field:
        return {}
    pipeline = [
        {"$match": {"_id": {"$in": [ObjectId(i) for i in ids]}, label_field: {"$ne": None}}},
        {"$project": {"labels": f"${label_field}.detections.label"}},
    ]
    rows = dataset._sample_collection.aggregate(pipeline)
    return {str(row["_id"]): _classes(row.get("labels")) for row in rows}


def _classes(stored: Any) -> list[str]:
    return [str(label) for label in stored if label] if isinstance(stored, list) else []


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    return np.asarray(array[np.isfinite(array)])


def _number(value: Any) -> float | None:
    is_finite = isinstance(value, (int, float)) and np.isfinite(value)
    return float(value) if is_finite else None
