"""Learning curves with intervals: from the records, and from counts per test image.

FiftyOne's evaluation leaves its verdict on every box; one pass over the test images reads those of
all evaluations at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unseen.arrays.bootstrap import Bounds, f1_intervals, gain_interval
from unseen.dataset import indexes
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.loop.curves import (
    IterationSummary,
    balance,
    defined,
    evaluation_of,
    measured_classes,
    read_curves,
    summarise,
)
from unseen.loop.facts import Records
from unseen.loop.mistakes import read_mistakes
from unseen.loop.overview_data import Interval
from unseen.loop.people import with_hours
from unseen.loop.progress_data import ClassPoint, Curve, Gain, Point, Progress

TP, FP, FN = OUTCOMES = ("tp", "fp", "fn")


@dataclass(frozen=True)
class ImageCounts:
    """One evaluation, counted per image and class."""

    ids: list[str]  #: the test images, ascending
    counts: np.ndarray  #: (images, classes, 3) int64: true positives, false positives, misses


def build_progress(loop: Loop, records: Records, classes: Sequence[str]) -> Progress:
    """Curves, table and intervals of all loops of the dataset; `loop` is what the overview is about.

    `classes` is the class list where no detector was measured.
    """
    main = loop.names.series
    summaries = with_hours(loop, summarise(records.all_series))
    classes = measured_classes(summaries) or list(classes)
    evaluations = _own_evaluations(records)
    counts = _read_counts(loop, evaluations, _measured_images(records), classes)
    curves = read_curves(summaries)
    drawn = [(s.name, s.strategy, s.label, list(s.points)) for s in curves.series]
    if curves.full:
        drawn.append((curves.full.series, "full", "Full set", [curves.full]))
    points = {
        s.eval_key: _measured_point(s, classes, counts[s.eval_key], evaluations[s.eval_key])
        for s in summaries
        if s.eval_key in counts
    }
    made = [
        Curve(
            series=series,
            strategy=strategy,
            label=label,
            is_main=series == main and strategy != "full",
            points=_with_gains(
                [points.get(s.eval_key or "") or _point(s, classes) for s in of_curve], counts
            ),
        )
        for series, strategy, label, of_curve in sorted(drawn, key=lambda d: d[0] != main)
    ]
    measured = [s for s in summaries if s.series == main and s.macro_f1 is not None]
    return Progress(
        dataset=loop.dataset.name,
        classes=list(classes),
        curves=made,
        eval_keys=[key for key in evaluations if key in counts],
        mistakes=read_mistakes(measured[-1] if measured else None),
        empty_state=_empty_state(summaries),
        **_settings(records),
    )


def _empty_state(summaries: Sequence[IterationSummary]) -> str | None:
    if not any(s.images for s in summaries):
        return "No iteration is on record yet. Label the initial images and train."
    if all(s.macro_f1 is None for s in summaries):
        return (
            "No detector was measured yet. Train the detector, let it predict on the test split, "
            "and measure it."
        )
    return None


def _own_evaluations(records: Records) -> dict[str, dict[str, Any]]:
    """Evaluation key -> FiftyOne's config, of those on record that still exist, oldest first."""
    own = {}
    for series, loop in records.all_series.items():
        for number, record in loop.items():
            key = evaluation_of(record).get("eval_key") or ""
            config = records.evaluations.get(key)
            predictions = Names(series=series).predictions(number)
            if config and config.get("pred_field") == predictions and config.get("gt_field"):
                own[key] = config
    return own


def _measured_images(records: Records) -> dict[str, int]:
    """Evaluation key -> number of images that it measured."""
    entries = [evaluation_of(r) for loop in records.all_series.values() for r in loop.values()]
    return {e["eval_key"]: e["images"] for e in entries if e.get("images") and e.get("eval_key")}


def _settings(records: Records) -> dict[str, Any]:
    """How the detectors were measured: images, IoU and confidence of the newest evaluation."""
    for loop in records.all_series.values():
        for record in reversed(loop.values()):
            if entry := evaluation_of(record):
                chosen = {k: entry["parameters"].get(k) for k in ("iou", "min_confidence")}
                return {"test_images": entry.get("images"), **chosen}
    return {}


# --- counts per image ------------------------------------------------------------------------------
def _read_counts(
    loop: Loop,
    evaluations: Mapping[str, Mapping[str, Any]],
    images: Mapping[str, int],
    classes: Sequence[str],
) -> dict[str, ImageCounts]:
    """Evaluation key -> counts, of the evaluations that left something in the dataset.

    Boxes of other classes are not counted. The test split is read; only if it does not hold all
    `images` (by evaluation key) that were measured, every sample is.
    """
    if not evaluations:
        return {}
    counts = _counts_in(loop, indexes.tagged(loop.names.test_tag), evaluations, classes)
    if any(len(counts[key].ids) != images.get(key) for key in evaluations):
        counts = _counts_in(loop, {}, evaluations, classes)
    return {key: of_evaluation for key, of_evaluation in counts.items() if of_evaluation.ids}


def _counts_in(
    loop: Loop,
    some: Mapping[str, Any],
    evaluations: Mapping[str, Mapping[str, Any]],
    classes: Sequence[str],
) -> dict[str, ImageCounts]:
    """Evaluation key -> counts in the samples of a query."""
    row_of = {label: k for k, label in enumerate(classes)}
    images: dict[str, dict[str, np.ndarray]] = {key: {} for key in evaluations}
    pipeline = [{"$match": some}, *_pipeline(evaluations)]
    for row in loop.dataset._sample_collection.aggregate(pipeline, batchSize=2000):
        for i, of_evaluation in enumerate(images.values()):
            if f"p{i}" not in row:
                continue
            counts = of_evaluation[str(row["_id"])] = np.zeros((len(classes), 3), np.int64)
            predicted = [(text[2:], text[:2]) for text in row[f"p{i}"] or () if text]
            for label, outcome in [*predicted, *((label, FN) for label in row[f"g{i}"] or ())]:
                if label in row_of:
                    counts[row_of[label], OUTCOMES.index(outcome)] += 1
    none = np.zeros((0, len(classes), 3), np.int64)
    return {
        key: ImageCounts(sorted(of), np.stack([of[i] for i in sorted(of)]) if of else none)
        for key, of in images.items()
    }


def _pipeline(evaluations: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per image and evaluation: outcome and class of each prediction, class of each missed box."""
    project: dict[str, Any] = {}
    for i, (key, config) in enumerate(evaluations.items()):
        is_evaluated = {"$gt": [f"${key}_tp", None]}
        outcome_and_class = {"$concat": [f"$$box.{key}", "$$box.label"]}
        predicted = _boxes(config["pred_field"], key, [TP, FP], outcome_and_class)
        missed = _boxes(config["gt_field"], key, [FN], "$$box.label")
        project[f"p{i}"] = {"$cond": [is_evaluated, predicted, "$$REMOVE"]}
        project[f"g{i}"] = {"$cond": [is_evaluated, missed, "$$REMOVE"]}
    evaluated = {"$or": [{f"{key}_tp": {"$ne": None}} for key in evaluations]}
    return [{"$match": evaluated}, {"$project": project}]


def _boxes(field: str, key: str, outcomes: list[str], value: Any) -> dict[str, Any]:
    """A value of each box with one of these outcomes."""
    boxes = {"$ifNull": [f"${field}.detections", []]}
    is_wanted = {"$in": [f"$$box.{key}", outcomes]}
    wanted = {"$filter": {"input": boxes, "as": "box", "cond": is_wanted}}
    return {"$map": {"input": wanted, "as": "box", "in": value}}


# --- points ----------------------------------------------------------------------------------------
def _point(summary: IterationSummary, classes: Sequence[str]) -> Point:
    """A point from the record alone."""
    per_class = (summary.per_class or {}).items()
    known: dict[str, Any] = {
        **vars(summary),
        "macro_f1": defined(summary.macro_f1),
        "mean_ap": defined(summary.mean_ap),
        "per_class": {k: ClassPoint(**{**vars(m), "ap": defined(m.ap)}) for k, m in per_class},
        "eval_key": None,
    }
    return Point(**known, balance=balance(summary.class_counts, classes))


def _measured_point(
    summary: IterationSummary,
    classes: Sequence[str],
    counted: ImageCounts,
    evaluation: Mapping[str, Any],
) -> Point:
    """A point whose evaluation is still there, with intervals."""
    point = _point(summary, classes)
    intervals = f1_intervals(counted.counts)
    cells = dict(point.per_class)
    for k, name in enumerate(classes):
        if name in cells:
            sums = dict(zip(OUTCOMES, counted.counts[:, k].sum(axis=0).tolist(), strict=True))
            cells[name] = replace(cells[name], interval=_interval(intervals.per_class[k]), **sums)
    return replace(
        point,
        macro_interval=_interval(intervals.macro),
        per_class=cells,
        eval_key=summary.eval_key,
        predictions=evaluation["pred_field"],
        gt_field=evaluation["gt_field"],
    )


def _with_gains(points: Sequence[Point], counts: Mapping[str, ImageCounts]) -> list[Point]:
    """Every measured point with its gain over the one and the two measured before it."""
    made: list[Point] = []
    measured: list[Point] = []
    for point in points:
        if point.macro_f1 is not None:
            one = _gain(measured[-1], point, counts) if measured else None
            two = _gain(measured[-2], point, counts) if len(measured) > 1 else None
            point = replace(point, gain=one, gain_two=two)
            measured.append(point)
        made.append(point)
    return made


def _gain(before: Point, after: Point, counts: Mapping[str, ImageCounts]) -> Gain:
    assert before.macro_f1 is not None
    assert after.macro_f1 is not None
    bounds = None
    if before.eval_key and after.eval_key:
        bounds = gain_interval(*_in_common(counts[before.eval_key], counts[after.eval_key]))
    return Gain(
        macro_f1=after.macro_f1 - before.macro_f1,
        interval=_interval(bounds),
        images=after.images - before.images,
        boxes=after.boxes - before.boxes,
        since=before.iteration,
    )


def _in_common(first: ImageCounts, second: ImageCounts) -> list[np.ndarray]:
    """The counts of the images that both evaluations saw, in the same order."""
    _, *rows = np.intersect1d(first.ids, second.ids, return_indices=True)
    return [part.counts[of_part] for part, of_part in zip((first, second), rows, strict=True)]


def _interval(bounds: Bounds | None) -> Interval | None:
    return None if bounds is None else Interval(low=bounds[0], high=bounds[1])
