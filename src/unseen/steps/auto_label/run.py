"""Label the rest of the pool by the detector, where held-out labels say that it is sure enough."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from unseen.dataset import reading, writing
from unseen.dataset.loop import Loop
from unseen.dataset.matching import match
from unseen.detector.confidence_thresholds import ConfidenceThreshold, confidence_threshold
from unseen.errors import DatasetError
from unseen.parameters import StepConfig, part
from unseen.progress import Progress
from unseen.steps.apply_detector.run import apply_detector, newest_detector
from unseen.steps.auto_label import AutoLabelConfig, AutoLabelResult
from unseen.steps.step import step, write_down

#: Predictions are stored from here on, so that low thresholds can be chosen too.
_LEAST_CONFIDENCE = 0.05
#: Label, relative xywh and confidence of the boxes of one image.
_Boxes = list[tuple[str, Any, float]]


@step(AutoLabelConfig)
def auto_label(loop: Loop, config: AutoLabelConfig, progress: Progress) -> AutoLabelResult:
    """Write what the newest detector is sure of into a field of its own, never into the labels.

    A class gets the lowest confidence threshold that reaches the wanted precision on the labelled
    test split; a class without one gets no automatic labels. The record holds the thresholds and
    the digest of the detector. `request_annotations(auto_labels=True)` sends the boxes of a batch
    for review.
    """
    iteration, entry = newest_detector(loop)
    predictions = loop.names.predictions(iteration)
    thresholds = _thresholds(loop, config, predictions, list(entry["classes"]))
    sure = {c: t.confidence for c, t in thresholds.items() if t.confidence is not None}
    labels: dict[str, _Boxes] = {}
    pool = loop.pool
    if sure and not config.dry_run and len(pool):
        apply_detector(
            loop.view,
            target="pool",
            min_confidence=min(_LEAST_CONFIDENCE, *sure.values()),
            device=config.device,
            progress=progress,
            **part(config, StepConfig),
        )
        labels = _select(pool, predictions, sure)
    if not config.dry_run and (labels or loop.dataset.get_field(loop.names.auto_labels)):
        # What an older detector was sure of goes, also if this one is sure of nothing.
        text = "Automatic labels, from the confidence on that the test split asks for"
        writing.declare_detections(loop, loop.names.auto_labels, text)
        loop.dataset.clear_sample_field(loop.names.auto_labels)
        writing.save_detections(loop.dataset, loop.names.auto_labels, labels)
        writing.group_fields(loop)
    counts = Counter(label for boxes in labels.values() for label, _, _ in boxes)
    result = AutoLabelResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        field=loop.names.auto_labels,
        images=len(labels),
        labelled=sum(bool(boxes) for boxes in labels.values()),
        boxes=counts.total(),
        class_counts=dict(sorted(counts.items())),
        thresholds={c: asdict(t) for c, t in thresholds.items()},
        wanted_precision=config.wanted_precision,
        digest=entry["digest"],
        dry_run=config.dry_run,
    )
    if not config.dry_run:
        write_down(loop, iteration, config, result)
    return result


def _thresholds(
    loop: Loop, config: AutoLabelConfig, predictions: str, classes: list[str]
) -> dict[str, ConfidenceThreshold]:
    """Class -> what the held-out labels say about it."""
    gt_field = config.gt_field or loop.names.label_field
    reading.check_label_field(loop.dataset, gt_field, parameter="gt_field")
    of_truth = Loop(loop.dataset, replace(loop.names, label_field=gt_field))
    test = of_truth.with_labels(of_truth.test)
    if loop.dataset.get_field(predictions) is None or not len(test.exists(predictions)):
        raise DatasetError(
            f"the newest detector has not seen a labelled test split (tag {loop.names.test_tag!r}, "
            f"labels in {gt_field!r}, predictions in {predictions!r}); label the test split and "
            "run apply_detector on the test split"
        )
    matched = match(of_truth.on(test.exists(predictions)), predictions, classes, iou=config.iou)
    return {
        label: confidence_threshold(
            *matched.metrics.judged[k],
            int(matched.metrics.support[k]),
            wanted=config.wanted_precision,
            level=config.level,
        )
        for k, label in enumerate(classes)
    }


def _select(pool: Any, predictions: str, sure: dict[str, float]) -> dict[str, _Boxes]:
    """Sample id -> the predictions that are sure enough; an empty list where none is."""
    columns = [
        f"{predictions}.detections.{name}" for name in ("label", "bounding_box", "confidence")
    ]
    rows = zip(*pool.exists(predictions).values(["id", *columns]), strict=True)
    return {
        sample_id: [
            (label, box, score)
            for label, box, score in zip(*(v or () for v in values), strict=True)
            if score >= sure.get(label, np.inf)
        ]
        for sample_id, *values in rows
    }
