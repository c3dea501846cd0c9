"""Counts and AP by hand, and the same as pycocotools' and FiftyOne's on random boxes."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from unseen.detector.metrics import average_precision, detection_metrics, match_counts
from unseen.errors import ConfigError, ShapeError

CLASSES = ["particle", "scratch", "stain"]
NOTHING = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)
SQUARE = [0, 0, 10, 10]


def images(seed: int, number: int = 8, ties: bool = False):
    """Predictions near true boxes, some with the wrong class, some twice, some of nothing."""
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(number):
        count = int(rng.integers(0, 9))
        corner = rng.uniform(0, 60, (count, 2))
        true = np.concatenate([corner, corner + rng.uniform(6, 30, (count, 2))], axis=1)
        labels = rng.integers(0, 3, count)
        rows = np.repeat(np.arange(count), rng.integers(0, 3, count))
        found = true[rows] + rng.normal(0, 3, (len(rows), 4))
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        guessed = np.where(rng.random(len(rows)) < 0.8, labels[rows], rng.integers(0, 3, len(rows)))
        extra = rng.uniform(0, 60, (int(rng.integers(0, 4)), 2))
        found = np.concatenate([found, np.concatenate([extra, extra + 9], axis=1)])
        guessed = np.concatenate([guessed, rng.integers(0, 3, len(extra))])
        scores = rng.random(len(found)).round(1 if ties else 9)
        predictions.append((found.astype(np.float32), guessed, scores))
        truths.append((true.astype(np.float32), labels))
    return predictions, truths


def by_pycocotools(predictions, truths, iou, max_detections=100):
    """AP per class of the reference implementation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def xywh(box):
        x1, y1, x2, y2 = map(float, box)
        return [x1, y1, x2 - x1, y2 - y1]

    objects, found = [], []
    for i, ((boxes, labels, scores), (true, true_labels)) in enumerate(
        zip(predictions, truths, strict=True), 1
    ):
        for box, label in zip(true, true_labels, strict=True):
            x, y, w, h = xywh(box)
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": i,
                    "category_id": int(label) + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        for box, label, score in zip(boxes, labels, scores, strict=True):
            found.append(
                {
                    "image_id": i,
                    "category_id": int(label) + 1,
                    "bbox": xywh(box),
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(truths))],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)],
            "annotations": objects,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([iou])
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    curves = evaluation.eval["precision"][0, :, :, 0, -1]  # (recalls, classes)
    return np.where(curves[0] < 0, np.nan, curves.mean(axis=0))


def test_nothing_is_neither_right_nor_wrong():
    np.testing.assert_array_equal(match_counts(*NOTHING, *NOTHING[:2], 2), np.zeros((2, 3)))
    assert np.isnan(average_precision([NOTHING], [NOTHING[:2]], 2)).all()
    empty = detection_metrics([], [], 2)
    assert empty.counts.shape == (0, 2, 3)
    assert (empty.macro_f1, empty.mean_ap) == (0, 0)


def test_a_box_is_found_once_and_its_second_prediction_is_wrong():
    found = match_counts([SQUARE, SQUARE], [0, 0], [0.9, 0.8], [SQUARE], [0], 1)
    np.testing.assert_array_equal(found, [[1, 1, 0]])


def test_the_wrong_class_is_wrong_and_misses_the_right_one():
    found = match_counts([SQUARE], [1], [0.9], [SQUARE], [0], 2)
    np.testing.assert_array_equal(found, [[0, 0, 1], [0, 1, 0]])


def test_the_more_confident_prediction_chooses_first():
    # Both predictions overlap the left box; only the sure one overlaps the right box, and less.
    left, right = [0, 0, 10, 10], [4, 0, 14, 10]
    sure, unsure = [1, 0, 11, 10], [-2, 0, 8, 10]
    found = match_counts([unsure, sure], [0, 0], [0.6, 0.9], [left, right], [0, 0], 1)
    np.testing.assert_array_equal(found, [[1, 1, 1]])
    swapped = match_counts([unsure, sure], [0, 0], [0.9, 0.6], [left, right], [0, 0], 1)
    np.testing.assert_array_equal(swapped, [[2, 0, 0]])


def test_overlap_and_confidence_at_the_limit_count():
    half = [0, 0, 10, 5]
    assert match_counts([half], [0], [0.5], [SQUARE], [0], 1)[0, 0] == 1
    assert match_counts([half], [0], [0.499], [SQUARE], [0], 1).tolist() == [[0, 0, 1]]
    six = [0, 0, 10, 6]
    assert match_counts([six], [0], [0.5], [SQUARE], [0], 1, iou=0.6)[0, 0] == 1
    assert match_counts([half], [0], [0.5], [SQUARE], [0], 1, iou=0.51)[0, 0] == 0
    assert match_counts([SQUARE], [0], [1.0], [SQUARE], [0], 1, iou=1.0)[0, 0] == 1


def test_average_precision_by_hand():
    # Of two objects the first and the third prediction find one each: the precision is 1 up to a
    # recall of .5 (51 of the 101 recalls), 2/3 beyond (50).
    far = [50, 50, 60, 60]
    nothing = [80, 80, 90, 90]
    predictions = [([SQUARE, nothing, far], [0, 0, 0], [0.9, 0.8, 0.7])]
    found = average_precision(predictions, [([SQUARE, far], [0, 0])], 1)
    np.testing.assert_allclose(found, [(51 + 50 * 2 / 3) / 101])


def test_metrics_are_those_of_the_summed_counts():
    predictions, truths = images(5)
    metrics = detection_metrics(predictions, truths, 3, iou=0.6, min_confidence=0.3)
    tp, fp, fn = metrics.counts.sum(axis=0).T
    np.testing.assert_allclose(metrics.precision, tp / (tp + fp))
    np.testing.assert_allclose(metrics.recall, tp / (tp + fn))
    np.testing.assert_allclose(metrics.f1, 2 * tp / (2 * tp + fp + fn))
    labels = np.concatenate([t[1] for t in truths])
    np.testing.assert_array_equal(metrics.support, np.bincount(labels, minlength=3))
    assert metrics.macro_f1 == pytest.approx(metrics.f1.mean())


def test_a_class_that_never_occurs_is_left_out_of_the_means():
    metrics = detection_metrics([([SQUARE], [0], [0.9])], [([SQUARE], [0])], 2)
    assert metrics.macro_f1 == metrics.mean_ap == 1
    assert np.isnan(metrics.ap[1])


@pytest.mark.parametrize("iou", [0.5, 0.75])
@pytest.mark.parametrize("seed", range(15))
def test_average_precision_is_that_of_pycocotools(seed, iou):
    predictions, truths = images(seed, ties=seed % 2 == 0)
    found = average_precision(predictions, truths, 3, iou=iou)
    np.testing.assert_allclose(found, by_pycocotools(predictions, truths, iou), atol=1e-9)


def test_only_the_most_confident_detections_of_an_image_count():
    predictions, truths = images(3)
    found = average_precision(predictions, truths, 3, max_detections=1)
    np.testing.assert_allclose(found, by_pycocotools(predictions, truths, 0.5, 1), atol=1e-9)
    assert (found <= average_precision(predictions, truths, 3)).all()


@pytest.mark.fiftyone
def test_all_metrics_are_those_of_fiftyone(tmp_path):
    import fiftyone as fo
    from fiftyone import ViewField as F

    predictions, truths = images(11, number=30)
    size = 128

    def detections(boxes, labels, scores=None):
        return fo.Detections(
            detections=[
                fo.Detection(
                    label=CLASSES[k],
                    bounding_box=[float(v) / size for v in (b[0], b[1], b[2] - b[0], b[3] - b[1])],
                    confidence=None if scores is None else float(scores[i]),
                )
                for i, (b, k) in enumerate(zip(boxes, labels, strict=True))
            ]
        )

    dataset = fo.Dataset()
    try:
        dataset.add_samples(
            fo.Sample(
                filepath=str(tmp_path / f"{i}.png"),
                metadata=fo.ImageMetadata(width=size, height=size),
                true=detections(*true),
                found=detections(*found),
            )
            for i, (found, true) in enumerate(zip(predictions, truths, strict=True))
        )
        sure = dataset.filter_labels("found", F("confidence") >= 0.5, only_matches=False)
        settings = {"gt_field": "true", "classes": CLASSES, "progress": False}
        results = sure.evaluate_detections("found", eval_key="e", iou=0.5, **settings)
        curves = dataset.evaluate_detections(
            "found", iou=0.5, compute_mAP=True, iou_threshs=[0.5], **settings
        )
        report = results.report(classes=CLASSES)
        stored = np.stack([sure.values(f"e_{part}") for part in ("tp", "fp", "fn")], axis=1)
    finally:
        dataset.delete()
    metrics = detection_metrics(predictions, truths, 3)
    np.testing.assert_array_equal(metrics.counts.sum(axis=1), stored)
    for k, name in enumerate(CLASSES):
        row = report[name]
        assert metrics.precision[k] == pytest.approx(row["precision"])
        assert metrics.recall[k] == pytest.approx(row["recall"])
        assert metrics.f1[k] == pytest.approx(row["f1-score"])
        assert metrics.support[k] == row["support"]
        assert metrics.ap[k] == pytest.approx(curves.mAP(classes=[name]), abs=1e-9)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ShapeError, match="2 predicted boxes have 1 labels"):
        match_counts([SQUARE, SQUARE], [0], [0.5], [], [], 1)
    with pytest.raises(ShapeError, match="1 predicted boxes have 2 confidences"):
        match_counts([SQUARE], [0], [0.5, 0.5], [], [], 1)
    with pytest.raises(ConfigError, match="true labels reach from 2 to 2"):
        match_counts(*NOTHING, [SQUARE], [2], 2)
    with pytest.raises(ConfigError, match="iou is 0"):
        match_counts(*NOTHING, *NOTHING[:2], 1, iou=0)
    with pytest.raises(ConfigError, match=r"min_confidence is 50"):
        match_counts(*NOTHING, *NOTHING[:2], 1, min_confidence=50)
    with pytest.raises(ShapeError, match="predictions of 1 images and labels of 0"):
        average_precision([NOTHING], [], 1)
