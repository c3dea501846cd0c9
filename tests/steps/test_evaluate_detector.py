"""The evaluation against pycocotools and against a count by hand, also of partly labelled images."""

from __future__ import annotations

import contextlib
import io

import fiftyone as fo
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


def test_what_fiftyone_stores_says_the_same_and_has_the_average_precision_of_all_predictions(
    predicted,
):
    result = unseen.evaluate_detector(predicted, min_confidence=0.4)
    predicted.clear_cache()
    stored = predicted.load_evaluation_results("iter_00")
    report = stored.report(classes=list(CLASSES))
    for label, of_class in result.per_class.items():
        row = report[label]
        assert (of_class.precision, of_class.recall) == pytest.approx(
            (row["precision"], row["recall"])
        )
        assert (of_class.f1, of_class.support) == pytest.approx((row["f1-score"], row["support"]))
    assert stored.mAP() == pytest.approx(result.mean_ap)
    assert stored.metrics()["fscore"] == pytest.approx(result.micro_f1)
    assert 0 < result.micro_f1 != result.macro_f1
    assert f"{result.micro_f1:.3f}" in result.summary()


BAD = ([float("nan"), 0.1, 0.1, 0.1], [0.6, 0.6, -0.2, -0.2], [0.3, 0.3, 0, 0.1], [2, 2, 0.1, 0.1])


@pytest.mark.parametrize("field", ["ground_truth", FIELD])
def test_boxes_that_are_none_are_left_out_and_counted(predicted, field):
    before = unseen.evaluate_detector(predicted)
    for sample in predicted.match_tags("test").limit(3).iter_samples(autosave=True):
        for box in BAD:
            sample[field].detections.append(
                fo.Detection(label="scratch", bounding_box=box, confidence=0.9)
            )
    after = unseen.evaluate_detector(predicted)
    assert after.per_class == before.per_class
    found = {"not finite": 3, "empty": 6, "outside": 3} if field == "ground_truth" else {}
    assert after.box_problems == found
    assert ("3 not finite" in after.summary()) == bool(found)


def test_crowds_are_neither_objects_nor_is_what_is_predicted_in_them_wrong(predicted):
    before = unseen.evaluate_detector(predicted)
    # A crowd of particles over everything: predictions of particles are right, or do not count.
    for sample in predicted.match_tags("test").iter_samples(autosave=True):
        crowd = fo.Detection(label="particle", bounding_box=[0, 0, 1, 1], iscrowd=1)
        sample.ground_truth.detections.append(crowd)
    after = unseen.evaluate_detector(predicted)
    particle, scratch = (after.per_class[label] for label in ("particle", "scratch"))
    assert particle.precision == 1 > before.per_class["particle"].precision
    assert (particle.recall, particle.support) == (
        before.per_class["particle"].recall,
        before.per_class["particle"].support,
    )
    assert scratch == before.per_class["scratch"]
    stored = predicted.load_evaluation_results("iter_00").report(classes=["particle"])
    assert stored["particle"]["precision"] == 1


def test_a_class_without_examples_counts_and_is_named(predicted):
    entry = {"classes": list(CLASSES[:1]), "class_counts": {"particle": 5}, "parameters": {}}
    Loop(predicted, NAMES).write_entry(0, "train_detector", entry)
    result = unseen.evaluate_detector(predicted)
    assert result.without_examples == ["scratch"]
    assert result.per_class["scratch"].support > 0
    assert "learned from shows scratch" in result.summary()
    sample = predicted.match_tags("test").first()
    sample[FIELD] = None
    sample.save()
    result = unseen.evaluate_detector(predicted)
    assert (result.images, result.without_predictions) == (24, 1)
    assert "1 labelled test images have no predictions" in result.summary()


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


@pytest.mark.parametrize("path", ["ground_truth", f"{FIELD}.detections"])
def test_a_read_only_field_is_named_before_anything_is_written(predicted, path):
    before = unseen.evaluate_detector(predicted)
    field = predicted.get_field(path)
    field.read_only = True
    field.save()
    with pytest.raises(DatasetError, match=f"{path!r} of dataset .* is read-only"):
        unseen.evaluate_detector(predicted)
    assert predicted.load_evaluation_results("iter_00").mAP() == pytest.approx(before.mean_ap)
    field.read_only = False  # as the message says
    field.save()
    assert unseen.evaluate_detector(predicted).per_class == before.per_class


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


def test_every_false_alarm_says_what_kind_of_error_it_is(predicted):
    result = unseen.evaluate_detector(predicted, min_confidence=0.3)
    boxes = predicted.values(f"{FIELD}.detections[]")
    marked = [(d[result.eval_key], d["error"]) for d in boxes if d.confidence >= 0.3]
    assert all((outcome == "tp") == (error is None) for outcome, error in marked)
    assert all(d["error"] is None for d in boxes if d.confidence < 0.3)
    counted = {kind: sum(e.counts.values()) for kind, e in result.errors.items()}
    missed = counted.pop("missed")
    assert counted == {kind: sum(error == kind for _, error in marked) for kind in counted}
    assert 0 < missed <= len([o for o in outcomes(predicted, result.eval_key) if o == "fn"])
    assert sum(b.predictions for b in result.reliability) == len(boxes)
    # What was an error before is none now.
    unseen.evaluate_detector(predicted, min_confidence=1)
    assert set(predicted.values(f"{FIELD}.detections[].error")) == {None}


def outcomes(dataset, key):
    return dataset.match_tags("test").values(f"ground_truth.detections[].{key}")
