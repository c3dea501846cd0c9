"""Measure the detector on the fixed test split."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from fiftyone import ViewField as F

from unseen.dataset import reading, scope, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError
from unseen.loop.curves import ClassMetrics
from unseen.progress import Progress
from unseen.steps.evaluate_detector import EvaluateConfig, EvaluateResult
from unseen.steps.step import step, write_down


@step(EvaluateConfig)
def evaluate_detector(loop: Loop, config: EvaluateConfig, progress: Progress) -> EvaluateResult:
    """Precision, recall, F1 and AP per class by FiftyOne's COCO-style evaluation.

    P, R and F1 count predictions from `min_confidence` on, as a user of the detector would; they
    are stored under the iteration's evaluation key, which FiftyOne's Model Evaluation panel opens.
    AP counts all predictions, at the same IoU. The class list is fixed, so that macro averages can
    be compared between iterations. In a partly labelled test image, boxes count whose centre lies
    in its scope.
    """
    gt_field = config.gt_field or loop.names.label_field
    reading.check_label_field(loop.dataset, gt_field)
    iteration = loop.newest_with("apply_detector", config.iteration)
    if iteration is None:
        raise LabelError(
            f"there are no predictions to evaluate in dataset {loop.dataset.name!r}; run "
            "train_detector and apply_detector first"
        )
    trained = loop.entry(iteration, "train_detector")
    classes = list(trained.get("classes", ())) or loop.classes()
    field = loop.names.predictions(iteration)
    of_truth = Loop(loop.view, replace(loop.names, label_field=gt_field))
    test = of_truth.with_labels(of_truth.test).exists(field)
    if not len(test):
        raise DatasetError(
            f"the test split (tag {loop.names.test_tag!r}) has {len(loop.test)} images, none of "
            f"them with both labels in {gt_field!r} and predictions in {field!r}; label the test "
            "split, then run apply_detector with target='test'"
        )
    test = scope.in_scope(of_truth.on(test), (gt_field, field))
    confident = F("confidence") >= config.min_confidence
    key = _free_key(loop, iteration)
    progress(0, 2, "evaluate detector")
    results = match(
        test.filter_labels(field, confident, only_matches=False),
        field,
        gt_field,
        classes,
        config.iou,
        eval_key=key,
    )
    progress(1, 2, "evaluate detector")
    curves = match(
        test, field, gt_field, classes, config.iou, compute_mAP=True, iou_threshs=[config.iou]
    )
    report = results.report(classes=classes)
    per_class = {
        label: _class_metrics(report.get(label) or {}, curves.mAP(classes=[label]))
        for label in classes
    }
    present = [m for m in per_class.values() if m.support]
    result = EvaluateResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        eval_key=key,
        images=len(test),
        iou=config.iou,
        min_confidence=config.min_confidence,
        per_class=per_class,
        macro_f1=float(np.mean([m.f1 for m in present])) if present else 0.0,
        mean_ap=float(np.mean([m.ap or 0.0 for m in present])) if present else 0.0,
        partly_labelled=scope.count(of_truth),
    )
    writing.group_fields(loop)
    write_down(loop, iteration, config, result)
    progress(2, 2, "evaluate detector")
    return result


def match(test: Any, field: str, gt_field: str, classes: list[str], iou: float, **more: Any) -> Any:
    """FiftyOne's COCO-style matching of predictions with labels, class by class, without its log."""
    with _quiet():
        return test.evaluate_detections(
            field,
            gt_field=gt_field,
            method="coco",
            classwise=True,
            classes=classes,
            iou=iou,
            progress=False,
            **more,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("fiftyone.utils.eval")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _free_key(loop: Loop, iteration: int) -> str:
    """The evaluation key, free of our earlier run; FiftyOne would overwrite any without asking."""
    key = loop.names.eval_key(iteration)
    if key in loop.dataset.list_evaluations():
        if key not in writing.own_evaluations(loop):
            raise DatasetError(
                f"dataset {loop.dataset.name!r} has an evaluation {key!r} that this package did not "
                "make; rename it with dataset.rename_evaluation, or pass another series="
            )
        loop.dataset.delete_evaluation(key)
    return key


def _class_metrics(row: dict[str, Any], ap: float) -> ClassMetrics:
    support = int(row.get("support", 0))
    return ClassMetrics(
        precision=float(row.get("precision", 0.0)),
        recall=float(row.get("recall", 0.0)),
        f1=float(row.get("f1-score", 0.0)),
        support=support,
        # FiftyOne gives -1 where the class never occurs.
        ap=float(ap) if support and ap >= 0 else None,
    )
