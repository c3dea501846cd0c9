"""Label the rest of the pool by the detector, where held-out labels say that it is sure enough."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from unseen.dataset import reading, scope, writing
from unseen.dataset.loop import Loop
from unseen.detector.confidence_thresholds import ConfidenceThreshold, confidence_threshold
from unseen.errors import DatasetError, LabelError
from unseen.parameters import StepConfig, parameters
from unseen.progress import Progress
from unseen.steps.apply_detector.run import apply_detector
from unseen.steps.auto_label import AutoLabelConfig, AutoLabelResult
from unseen.steps.evaluate_detector.run import quiet
from unseen.steps.step import step, write_down

#: FiftyOne's name for what has no partner.
_NOTHING = "(none)"
#: Predictions are asked for from here on, so that low thresholds can be chosen too.
_LEAST_CONFIDENCE = 0.05


@step(AutoLabelConfig)
def auto_label(loop: Loop, config: AutoLabelConfig, progress: Progress) -> AutoLabelResult:
    """Write what the newest detector is sure of into a field of its own, never into the labels.

    Per class, the lowest confidence is taken from which on the wanted precision is reached on the
    labelled test split; classes that do not reach it get no automatic labels. The record holds the
    thresholds, and with them the digest of the detector. `request_annotations(auto_labels=True)`
    sends the boxes of a batch for review.
    """
    iteration, entry = _detector(loop)
    predictions = loop.names.predictions(iteration)
    thresholds = _thresholds(loop, config, predictions, list(entry["classes"]))
    sure = {c: t.confidence for c, t in thresholds.items() if t.confidence is not None}
    found: dict[str, list[tuple[str, Any, float]]] = {}
    pool = loop.pool
    if sure and not config.dry_run and len(pool):
        shared = {p.name: getattr(config, p.name) for p in parameters(StepConfig)}
        apply_detector(
            loop.view,
            target="pool",
            min_confidence=min(_LEAST_CONFIDENCE, *sure.values()),
            device=config.device,
            progress=progress,
            **shared,
        )
        found = _select(pool, predictions, sure)
        text = "Automatic labels, from the confidence on that the test split asks for"
        writing.declare_detections(loop, loop.names.auto_labels, text)
        loop.dataset.clear_sample_field(loop.names.auto_labels)
        writing.save_detections(loop.dataset, loop.names.auto_labels, found)
        writing.group_fields(loop)
    counts = Counter(label for boxes in found.values() for label, _, _ in boxes)
    result = AutoLabelResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        field=loop.names.auto_labels,
        images=len(found),
        labelled=sum(bool(boxes) for boxes in found.values()),
        boxes=sum(counts.values()),
        class_counts={c: counts[c] for c in sorted(counts)},
        thresholds={c: asdict(t) for c, t in thresholds.items()},
        wanted_precision=config.wanted_precision,
        digest=entry["digest"],
        dry_run=config.dry_run,
    )
    if found:
        write_down(loop, iteration, config, result)
    return result


def _detector(loop: Loop) -> tuple[int, dict[str, Any]]:
    """Iteration and record of the newest detector."""
    iteration = loop.newest_with("train_detector")
    if iteration is None:
        raise LabelError(
            f"no detector has been trained on dataset {loop.dataset.name!r} yet; run "
            "train_detector first"
        )
    return iteration, loop.entry(iteration, "train_detector")


def _thresholds(
    loop: Loop, config: AutoLabelConfig, predictions: str, classes: list[str]
) -> dict[str, ConfidenceThreshold]:
    """What the held-out labels say about each class."""
    gt_field = config.gt_field or loop.names.label_field
    reading.check_label_field(loop.dataset, gt_field, parameter="gt_field")
    test = loop.dataset.match_tags(loop.names.test_tag).exists(gt_field)
    if loop.dataset.get_field(predictions) is None or not len(test.exists(predictions)):
        raise DatasetError(
            f"the newest detector has not seen a labelled test split (tag {loop.names.test_tag!r}, labels "
            f"in {gt_field!r}, predictions in {predictions!r}); label the test split and run "
            "apply_detector with target='test'"
        )
    of_truth = Loop(test, replace(loop.names, label_field=gt_field))
    test = scope.in_scope(of_truth, (gt_field, predictions))
    with quiet():
        matched = test.exists(predictions).evaluate_detections(
            predictions,
            gt_field=gt_field,
            eval_key=None,
            method="coco",
            iou=config.iou,
            classes=classes,
            classwise=True,
            progress=False,
        )
    truth, said = np.asarray(matched.ytrue), np.asarray(matched.ypred)
    confidence = np.asarray([0.0 if c is None else c for c in matched.confs])
    found = {}
    for label in classes:
        mine = said == label
        found[label] = confidence_threshold(
            confidence[mine],
            truth[mine] == label,
            int((truth == label).sum()),
            wanted=config.wanted_precision,
            level=config.level,
        )
    return found


def _select(
    pool: Any, predictions: str, sure: dict[str, float]
) -> dict[str, list[tuple[str, Any, float]]]:
    """Sample id -> the predictions that are sure enough; an empty list where none is."""
    columns = [
        f"{predictions}.detections.{name}" for name in ("label", "bounding_box", "confidence")
    ]
    ids, labels, boxes, scores = pool.exists(predictions).values(["id", *columns])
    return {
        sample_id: [
            (label, box, score)
            for label, box, score in zip(*(v or () for v in values), strict=True)
            if score >= sure.get(label, np.inf)
        ]
        for sample_id, *values in zip(ids, labels, boxes, scores, strict=True)
    }
