"""The evaluation against pycocotools and against a count by hand."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

import unseen
from unseen.arrays.boxes import iou
from unseen.dataset import writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError

pytestmark = pytest.mark.fiftyone

NAMES = Names()
CLASSES = ("particle", "scratch", "stain")


@pytest.fixture
def predicted(make_wafers, rng):
    """Predictions that are shaken ground truth, doubles and noise, for 25 test images."""
    dataset = make_wafers(1, labelled=1, test=25)
    writing.declare_detections(Loop(dataset, NAMES), "predictions_00", "test")
    found = {}
    for sample in dataset.match_tags("test"):
        boxes = []
        for d in sample.ground_truth.detections:
            for _ in range(int(rng.integers(0, 3))):
                shake = rng.normal(0, 0.012, 4)
                label = d.label if rng.random() < 0.9 else "stain"
                boxes.append((label, np.abs(np.asarray(d.bounding_box) + shake), rng.random()))
        for _ in range(2):
            box = (*rng.uniform(0, 0.7, 2), *rng.uniform(0.05, 0.2, 2))
            boxes.append((str(rng.choice(CLASSES)), box, rng.random()))
        found[sample.id] = boxes
    writing.save_detections(dataset, "predictions_00", found)
    Loop(dataset, NAMES).write_entry(
        0, "train_detector", {"classes": list(CLASSES), "parameters": {}}
    )
    Loop(dataset, NAMES).write_entry(0, "apply_detector", {"parameters": {}})
    return dataset


def boxes_of(dataset, field):
    """Per image: labels, (N, 4) absolute xywh, confidences."""
    for i, detections in enumerate(dataset.match_tags("test").values(field)):
        yield (
            i + 1,
            [d.label for d in detections.detections],
            np.asarray([d.bounding_box for d in detections.detections]).reshape(-1, 4) * 64,
            [d.confidence for d in detections.detections],
        )


def test_average_precision_is_that_of_pycocotools(predicted):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    result = unseen.evaluate_detector(predicted)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i + 1} for i in range(25)],
            "categories": [{"id": k, "name": c} for k, c in enumerate(CLASSES)],
            "annotations": [],
        }
        for image, labels, xywh, _ in boxes_of(predicted, "ground_truth"):
            for label, box in zip(labels, xywh, strict=True):
                truth.dataset["annotations"].append(
                    {
                        "id": len(truth.dataset["annotations"]) + 1,
                        "image_id": image,
                        "category_id": CLASSES.index(label),
                        "bbox": box.tolist(),
                        "area": float(box[2] * box[3]),
                        "iscrowd": 0,
                    }
                )
        truth.createIndex()
        rows = [
            {
                "image_id": image,
                "category_id": CLASSES.index(label),
                "bbox": box.tolist(),
                "score": score,
            }
            for image, labels, xywh, scores in boxes_of(predicted, "predictions_00")
            for label, box, score in zip(labels, xywh, scores, strict=True)
        ]
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.params.iouThrs = np.asarray([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    curves = evaluation.eval["precision"][0, :, :, 0, -1]  # (recalls, classes)
    for k, label in enumerate(CLASSES[:2]):
        assert result.per_class[label].ap == pytest.approx(curves[:, k].mean(), abs=1e-6)
        assert 0.05 < curves[:, k].mean() < 0.98  # neither trivial
    assert result.mean_ap == pytest.approx(curves[:, :2].mean(), abs=1e-6)


def test_precision_and_recall_are_counts_by_hand(predicted):
    result = unseen.evaluate_detector(predicted, min_confidence=0.5)
    for label in CLASSES:
        true_positives = predictions = support = 0
        pairs = zip(
            boxes_of(predicted, "ground_truth"), boxes_of(predicted, "predictions_00"), strict=True
        )
        for (_, labels, truth, _), (_, names, boxes, scores) in pairs:
            truth = truth[[n == label for n in labels]]
            keep = [n == label and s >= 0.5 for n, s in zip(names, scores, strict=True)]
            order = np.argsort(-np.asarray(scores)[keep], kind="stable")
            boxes = boxes[keep][order]
            overlap = iou(corners(boxes), corners(truth))
            free = np.ones(len(truth), dtype=bool)
            for row in overlap:
                row = np.where(free, row, -1)
                if row.size and row.max() >= 0.5:
                    free[row.argmax()] = False
                    true_positives += 1
            predictions += len(boxes)
            support += len(truth)
        metrics = result.per_class[label]
        assert metrics.support == support
        assert metrics.precision == pytest.approx(true_positives / max(1, predictions))
        assert metrics.recall == pytest.approx(true_positives / max(1, support))
    assert result.per_class["stain"].ap is None
    present = [m.f1 for m in result.per_class.values() if m.support]
    assert result.macro_f1 == pytest.approx(np.mean(present))


def corners(xywh):
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def test_evaluating_twice_replaces_and_a_foreign_key_is_refused(predicted):
    first = unseen.evaluate_detector(predicted)
    again = unseen.evaluate_detector(predicted)
    assert first.per_class == again.per_class
    assert predicted.list_evaluations() == ["iter_00"]
    predicted.delete_evaluation("iter_00")
    predicted.match_tags("test").evaluate_detections(
        "hidden_truth", gt_field="ground_truth", eval_key="iter_00"
    )
    with pytest.raises(DatasetError, match="'iter_00' that this package did not make"):
        unseen.evaluate_detector(predicted)
    assert predicted.list_evaluations() == ["iter_00"]


def test_without_predictions_or_labels_it_says_what_is_missing(predicted, wafers):
    with pytest.raises(LabelError, match="no predictions to evaluate"):
        unseen.evaluate_detector(wafers)
    predicted.match_tags("test").clear_sample_field("ground_truth")
    with pytest.raises(DatasetError, match="label the test split"):
        unseen.evaluate_detector(predicted)
