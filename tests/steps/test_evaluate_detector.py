"""The evaluation against pycocotools and against a count by hand, also of partly labelled images."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

import unseen
from unseen.arrays.boxes import iou, rel_xywh_to_xyxy
from unseen.dataset import scope, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError

pytestmark = pytest.mark.fiftyone

NAMES = Names()
CLASSES = ("particle", "scratch", "stain")
FIELD = "predictions_00"


@pytest.fixture
def predicted(make_wafers, rng):
    """Predictions that are shaken ground truth, doubles and noise, for 25 test images."""
    dataset = make_wafers(1, labelled=1, test=25)
    loop = Loop(dataset, NAMES)
    writing.declare_detections(loop, FIELD, "test")
    predictions = {}
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
        predictions[sample.id] = boxes
    writing.save_detections(dataset, FIELD, predictions)
    loop.write_entry(0, "train_detector", {"classes": list(CLASSES), "parameters": {}})
    loop.write_entry(0, "apply_detector", {"parameters": {}})
    return dataset


def boxes_of(dataset, field):
    """Per image: (N,) class numbers, (N, 4) absolute xywh, (N,) confidences."""
    for detections in dataset.match_tags("test").values(field):
        boxes = detections.detections
        yield (
            np.asarray([CLASSES.index(d.label) for d in boxes]),
            np.asarray([d.bounding_box for d in boxes]).reshape(-1, 4) * 64,
            np.asarray([d.confidence or 0.0 for d in boxes]),
        )


def coco_rows(dataset, field):
    return [
        {
            "id": 100 * image + n + 1,
            "image_id": image,
            "category_id": int(label),
            "bbox": box.tolist(),
            "area": float(box[2] * box[3]),
            "iscrowd": 0,
            "score": float(score),
        }
        for image, of_image in enumerate(boxes_of(dataset, field))
        for n, (label, box, score) in enumerate(zip(*of_image, strict=True))
    ]


def test_average_precision_is_that_of_pycocotools(predicted):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    result = unseen.evaluate_detector(predicted)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(25)],
            "categories": [{"id": k, "name": c} for k, c in enumerate(CLASSES)],
            "annotations": coco_rows(predicted, "ground_truth"),
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(coco_rows(predicted, FIELD)), "bbox")
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
    for k, label in enumerate(CLASSES):
        true_positives = predictions = support = 0
        pairs = zip(boxes_of(predicted, "ground_truth"), boxes_of(predicted, FIELD), strict=True)
        for (labels, truth, _), (names, boxes, scores) in pairs:
            truth = truth[labels == k]
            keep = np.flatnonzero((names == k) & (scores >= 0.5))
            boxes = boxes[keep[np.argsort(-scores[keep], kind="stable")]]
            free = np.ones(len(truth), dtype=bool)
            for row in iou(*(rel_xywh_to_xyxy(b, 1, 1) for b in (boxes, truth))):
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


def test_evaluating_twice_replaces_and_a_foreign_key_is_refused(predicted):
    first = unseen.evaluate_detector(predicted)
    assert unseen.evaluate_detector(predicted).per_class == first.per_class
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


def test_evaluating_with_a_scope_counts_the_boxes_in_it_and_moves_none(predicted):
    whole = unseen.evaluate_detector(predicted, min_confidence=0.3)
    some = predicted.match_tags("test").limit(7)
    scopes = {i: [[0.1, 0.0, 0.4, 0.9], [0.4, 0.3, 0.3, 0.3]] for i in some.values("id")}
    scope.write(Loop(predicted, NAMES), scopes)
    paths = [f"{field}.detections.bounding_box" for field in ("ground_truth", FIELD)]
    before = [predicted.values(path) for path in paths]
    in_part = unseen.evaluate_detector(predicted, min_confidence=0.3)
    assert (in_part.partly_labelled, in_part.images) == (7, 25)
    assert [predicted.values(path) for path in paths] == before
    results = predicted.load_evaluation_results("iter_00")
    assert len(predicted.load_evaluation_view("iter_00")) == 25
    counted = predicted.match_tags("test").sum("iter_00_tp")
    assert counted == (np.asarray(results.ytrue) == np.asarray(results.ypred)).sum()

    for sample in some.iter_samples(autosave=True):
        for field in ("ground_truth", FIELD):
            kept = []
            for d in sample[field].detections:
                x, y, w, h = d.bounding_box
                x, y = x + w / 2, y + h / 2
                if (0.1 <= x < 0.5 and y < 0.9) or (0.4 <= x < 0.7 and 0.3 <= y < 0.6):
                    kept.append(d)
            sample[field].detections = kept
    predicted.clear_sample_field(NAMES.scope)
    by_hand = unseen.evaluate_detector(predicted, min_confidence=0.3)
    assert in_part.per_class == by_hand.per_class != whole.per_class
    assert in_part.mean_ap == by_hand.mean_ap
    assert sum(m.support for m in in_part.per_class.values()) > 5
