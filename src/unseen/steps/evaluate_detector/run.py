"""Measure the detector on the fixed test split."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from fiftyone import ViewField as F
from fiftyone.utils.eval.coco import COCODetectionResults

from unseen.dataset import reading, scope, writing
from unseen.dataset.loop import Loop
from unseen.dataset.matching import Matched, match
from unseen.detector.calibration import calibration_error, reliability
from unseen.detector.error_types import KINDS, detection_errors
from unseen.detector.metrics import RECALLS
from unseen.errors import DatasetError, LabelError
from unseen.loop.curves import ClassMetrics, ErrorKind
from unseen.progress import Progress
from unseen.steps.evaluate_detector import EvaluateConfig, EvaluateResult
from unseen.steps.step import step, write_down


@step(EvaluateConfig)
def evaluate_detector(loop: Loop, config: EvaluateConfig, progress: Progress) -> EvaluateResult:
    """Precision, recall, F1 and AP per class by FiftyOne's COCO-style evaluation.

    P, R and F1 count predictions from `min_confidence` on, as a user of the detector would; AP counts
    all predictions, at the same IoU. All are stored under the iteration's evaluation key, which
    FiftyOne's Model Evaluation panel opens. The class list is that of the detector and of the
    dataset, so that a class nobody had found yet counts as well. See `match` for what does not count.
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
    field = loop.names.predictions(iteration)
    of_truth = Loop(loop.view, replace(loop.names, label_field=gt_field))
    labelled = of_truth.with_labels(of_truth.test)
    test = labelled.exists(field)
    if not len(test):
        raise DatasetError(
            f"the test split (tag {loop.names.test_tag!r}) has {len(loop.test)} images: "
            f"{len(labelled)} with labels in {gt_field!r}, none of them with predictions in "
            f"{field!r}; label the test split, then run apply_detector on the test split, which "
            "says which images cannot be read"
        )
    progress(0, 2, "evaluate detector")
    classes = list(dict.fromkeys([*trained.get("classes", ()), *loop.classes()]))
    of_test = of_truth.on(test)
    matched = match(of_test, field, classes, iou=config.iou, min_confidence=config.min_confidence)
    metrics = matched.metrics
    progress(1, 2, "evaluate detector")
    key = _free_key(loop, iteration)
    _store(matched, key, config, gt_field, field)
    errors = _errors(test, matched, config, field)
    judged = [np.concatenate(part) for part in zip(*metrics.judged, strict=True)]
    bins = reliability(*judged) if judged else []
    per_class = {
        label: ClassMetrics(
            precision=float(metrics.precision[k]),
            recall=float(metrics.recall[k]),
            f1=float(metrics.f1[k]),
            support=int(metrics.support[k]),
            ap=float(metrics.ap[k]) if metrics.support[k] else None,
        )
        for k, label in enumerate(matched.classes)
    }
    examples = trained.get("class_counts")
    result = EvaluateResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        eval_key=key,
        images=len(test),
        iou=config.iou,
        min_confidence=config.min_confidence,
        per_class=per_class,
        macro_f1=metrics.macro_f1,
        micro_f1=metrics.micro_f1,
        mean_ap=metrics.mean_ap,
        errors=errors,
        reliability=bins,
        calibration_error=calibration_error(bins),
        partly_labelled=scope.count(of_test),
        without_examples=[
            label
            for label, of_class in per_class.items()
            if of_class.support and examples is not None and not examples.get(label)
        ],
        without_predictions=len(labelled) - len(test),
        box_problems=matched.box_problems,
    )
    writing.group_fields(loop)
    write_down(loop, iteration, config, result)
    progress(2, 2, "evaluate detector")
    return result


def _store(matched: Matched, key: str, config: EvaluateConfig, gt_field: str, field: str) -> None:
    """Let FiftyOne mark what is right, and keep the AP of all predictions beside its counts."""
    confident = F("confidence") >= config.min_confidence
    with _quiet():
        results = matched.view.filter_labels(
            field, confident, only_matches=False
        ).evaluate_detections(
            field,
            gt_field=gt_field,
            eval_key=key,
            method="coco",
            classwise=True,
            classes=matched.classes,
            iou=config.iou,
            progress=False,
        )
    names = ("ytrue", "ypred", "ious", "confs", "ytrue_ids", "ypred_ids")
    rows = zip(*(getattr(results, name) for name in names), strict=True)
    results.config.compute_mAP, results.config.iou_threshs = True, [config.iou]
    curves = np.nan_to_num(matched.metrics.curves, nan=-1)  # FiftyOne's "no such object"
    with_map = COCODetectionResults(
        results.samples,
        results.config,
        key,
        list(rows),
        precision=curves[None],
        recall=RECALLS,
        iou_threshs=[config.iou],
        classes=matched.classes,
        missing=results.missing,
        backend=results.backend,
    )
    with_map.save_config()
    with_map.save()


def _errors(
    test: Any, matched: Matched, config: EvaluateConfig, field: str
) -> dict[str, ErrorKind]:
    """What each kind of errors costs; the attribute `error` of confident predictions says theirs."""
    found = detection_errors(
        matched.predictions,
        matched.truths,
        len(matched.classes),
        iou=config.iou,
        min_confidence=config.min_confidence,
        matched=matched.metrics.matched,
    )
    names = np.asarray([*KINDS, None])  # None, for -1, is the last
    values = {
        box: name
        for ids, kinds in zip(matched.prediction_ids, found.of_predictions, strict=True)
        for box, name in zip(ids.tolist(), names[kinds].tolist(), strict=True)
    }
    test.set_label_values(f"{field}.detections.error", values)
    return {
        kind: ErrorKind(
            cost=float(found.costs[k]),
            counts={
                label: int(n)
                for label, n in zip(matched.classes, found.counts[:, k], strict=True)
                if n
            },
        )
        for k, kind in enumerate(KINDS)
    }


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
