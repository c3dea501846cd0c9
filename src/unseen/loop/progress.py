"""What was measured: the records of all loops, and true and false positives per test image.

FiftyOne's evaluation leaves its verdict on every box; one pass over the test images reads those of
all evaluations at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unseen.dataset.fields import Names
from unseen.loop.curves import evaluation_of
from unseen.loop.records import Records

TP, FP, FN = OUTCOMES = ("tp", "fp", "fn")


@dataclass(frozen=True)
class ImageCounts:
    """One evaluation, counted per image and class."""

    ids: list[str]  #: the test images, ascending
    counts: np.ndarray  #: (images, classes, 3) int64: true positives, false positives, misses


def read_counts(
    dataset: Any, evaluations: Mapping[str, Mapping[str, Any]], classes: Sequence[str]
) -> dict[str, ImageCounts]:
    """Evaluation key -> counts, of the evaluations of which something is left in the dataset.

    Args:
        dataset: the dataset.
        evaluations: evaluation key -> FiftyOne's config, with `pred_field` and `gt_field`.
        classes: boxes of other classes are not counted.
    """
    if not evaluations:
        return {}
    place = {label: k for k, label in enumerate(classes)}
    rows: dict[str, tuple[list[str], list[tuple[int, int, int]]]] = {
        key: ([], []) for key in evaluations
    }
    for row in dataset._sample_collection.aggregate(_pipeline(evaluations), batchSize=2000):
        for i, (ids, found) in enumerate(rows.values()):
            if f"p{i}" not in row:
                continue
            image = len(ids)
            ids.append(str(row["_id"]))
            for text in row[f"p{i}"] or ():  # "tpscratch": outcome and class
                if text and text[2:] in place:
                    found.append((image, place[text[2:]], OUTCOMES.index(text[:2])))
            for label in row[f"g{i}"] or ():
                if label in place:
                    found.append((image, place[label], 2))
    return {
        key: _counted(ids, found, len(classes)) for key, (ids, found) in rows.items() if len(ids)
    }


def _pipeline(evaluations: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per image and evaluation: outcome and class of each prediction, class of each missed box."""
    project: dict[str, Any] = {}
    for i, (key, config) in enumerate(evaluations.items()):
        is_evaluated = {"$gt": [f"${key}_tp", None]}
        predicted = {
            "$map": {
                "input": _boxes(config["pred_field"], key, [TP, FP]),
                "as": "d",
                "in": {"$concat": [f"$$d.{key}", "$$d.label"]},
            }
        }
        missed = {
            "$map": {"input": _boxes(config["gt_field"], key, [FN]), "as": "d", "in": "$$d.label"}
        }
        project[f"p{i}"] = {"$cond": [is_evaluated, predicted, "$$REMOVE"]}
        project[f"g{i}"] = {"$cond": [is_evaluated, missed, "$$REMOVE"]}
    evaluated = {"$or": [{f"{key}_tp": {"$ne": None}} for key in evaluations]}
    return [{"$match": evaluated}, {"$project": project}]


def _boxes(field: str, key: str, outcomes: list[str]) -> dict[str, Any]:
    return {
        "$filter": {
            "input": {"$ifNull": [f"${field}.detections", []]},
            "as": "d",
            "cond": {"$in": [f"$$d.{key}", outcomes]},
        }
    }


def _counted(ids: list[str], found: list[tuple[int, int, int]], classes: int) -> ImageCounts:
    counts = np.zeros((len(ids), classes, 3), dtype=np.int64)
    if found:
        np.add.at(counts, tuple(np.asarray(found).T), 1)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return ImageCounts([ids[i] for i in order], counts[order])


def own_evaluations(records: Records) -> dict[str, dict[str, Any]]:
    """Evaluation key -> FiftyOne's config, of those on record that still exist, oldest first."""
    found = {}
    for series, loop in records.all_series.items():
        for number, record in loop.items():
            key = evaluation_of(record).get("eval_key")
            config = records.evaluations.get(key or "")
            own = Names(series=series).predictions(number)
            if key and config and config.get("pred_field") == own and config.get("gt_field"):
                found[key] = config
    return found


def settings(records: Records) -> dict[str, Any]:
    """How the detectors were measured: images, IoU and confidence of the newest evaluation."""
    for loop in records.all_series.values():
        for _, record in sorted(loop.items(), reverse=True):
            entry = evaluation_of(record)
            if entry:
                chosen = entry.get("parameters") or {}
                return {
                    "test_images": entry.get("images"),
                    "iou": chosen.get("iou"),
                    "min_confidence": chosen.get("min_confidence"),
                }
    return {}
