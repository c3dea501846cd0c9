"""Measure the detector on the fixed test split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unseen.dataset import evaluations, reading, scope, writing
from unseen.dataset.loop import Loop
from unseen.dataset.matching import match
from unseen.detector.calibration import calibration_error, reliability
from unseen.detector.error_types import KINDS, detection_errors
from unseen.errors import DatasetError, LabelError
from unseen.loop.curves import ClassMetrics, ErrorKind
from unseen.progress import Progress
from unseen.steps.evaluate_detector import EvaluateConfig, EvaluateResult
from unseen.steps.step import step, write_down


@step(EvaluateConfig)
def evaluate_detector(loop: Loop, config: EvaluateConfig, progress: Progress) -> EvaluateResult:
    """Precision, recall, F1 and AP per class by the rules of COCO.

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
    evaluations.check_editable(loop.dataset, gt_field, field)
    progress(0, 2, "evaluate detector")
    classes = list(dict.fromkeys([*trained.get("classes", ()), *loop.classes()]))
    of_test = of_truth.on(test)
    matched = match(of_test, field, classes, iou=config.iou, min_confidence=config.min_confidence)
    metrics = matched.metrics
    progress(1, 2, "evaluate detector")
    key = _free_key(loop, iteration)
    errors = detection_errors(metrics.matches, min_confidence=config.min_confidence)
    names = np.asarray([*KINDS, None])  # None, for -1, is the last
    evaluations.store(
        matched,
        key,
        gt_field=gt_field,
        field=field,
        iou=config.iou,
        min_confidence=config.min_confidence,
        errors=names[errors.kinds].tolist(),
    )
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
        errors={
            kind: ErrorKind(
                cost=float(errors.costs[k]),
                counts={
                    label: int(n)
                    for label, n in zip(matched.classes, errors.counts[:, k], strict=True)
                    if n
                },
            )
            for k, kind in enumerate(KINDS)
        },
        reliability=bins,
        calibration_error=calibration_error(bins),
        partly_labelled=scope.count(of_test),
        without_examples=[
            label
            for label, of_class in per_class.items()
            if of_class.support and examples is not None and not examples.get(label)
        ],
        without_predictions=len(labelled) - len(test),
        box_problems=matched.true.problems,
    )
    writing.group_fields(loop)
    write_down(loop, iteration, config, result)
    progress(2, 2, "evaluate detector")
    return result


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
