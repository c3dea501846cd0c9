"""Counts and AP are those of pycocotools; thresholds are the lowest of all."""

import contextlib
import io

import numpy as np
import pytest
from detections import images
from scipy import optimize, stats

from unseen.detector.confidence_thresholds import confidence_threshold
from unseen.detector.metrics import detection_metrics

CLASSES = ["particle", "scratch", "stain"]
NOTHING = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)
SQUARE = [0, 0, 10, 10]


def by_pycocotools(predictions, truths, iou, max_detections=100):
    """AP per class and (images, classes, 3) counts of confident boxes: hit, wrong, missed."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(boxes, labels, image):
        for box, label in zip(np.asarray(boxes).tolist(), labels, strict=True):
            area = box[2] * box[3]
            yield {"image_id": image, "category_id": int(label) + 1, "bbox": box, "area": area}

    objects, detections = [], []
    for i, ((boxes, labels, scores), true) in enumerate(zip(predictions, truths, strict=True), 1):
        marked = zip(rows(*true[:2], i), true[2], strict=True)
        objects += [{**row, "iscrowd": int(is_crowd)} for row, is_crowd in marked]
        pairs = zip(rows(boxes, labels, i), scores, strict=True)
        detections += [{**row, "score": float(score)} for row, score in pairs]
    objects = [{**row, "id": i} for i, row in enumerate(objects, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(truths))],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)],
            "annotations": objects,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
        evaluation.params.iouThrs = np.array([iou])
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    curves = evaluation.eval["precision"][0, :, :, 0, -1]  # (recalls, classes)
    counts = np.zeros((len(truths), len(CLASSES), 3), int)
    areas = len(evaluation.params.areaRng)
    for image, k in np.ndindex(counts.shape[:2]):
        if one := evaluation.evalImgs[k * areas * len(truths) + image]:
            is_sure = np.asarray(one["dtScores"]) >= 0.5
            counted = is_sure & ~np.asarray(one["dtIgnore"][0], bool)
            hits = (one["dtMatches"][0][counted] > 0).sum()
            missed = len(one["gtIds"]) - np.sum(one["gtIgnore"]) - hits
            counts[image, k] = hits, counted.sum() - hits, missed
    return np.where(curves[0] < 0, np.nan, curves.mean(axis=0)), counts


def test_nothing_is_neither_right_nor_wrong():
    one = detection_metrics([NOTHING], [NOTHING[:2]], 2)
    np.testing.assert_array_equal(one.counts, np.zeros((1, 2, 3)))
    assert np.isnan(one.ap).all()
    empty = detection_metrics([], [], 2)
    assert empty.counts.shape == (0, 2, 3)
    assert (empty.macro_f1, empty.mean_ap) == (0, 0)


def test_overlap_and_confidence_at_the_limit_count():
    for height, confidence, iou, expected in (
        (5, 0.5, 0.5, [1, 0, 0]),
        (5, 0.499, 0.5, [0, 0, 1]),
        (6, 0.5, 0.6, [1, 0, 0]),
        (5, 0.5, 0.51, [0, 1, 1]),
        (10, 1.0, 1.0, [1, 0, 0]),
    ):
        predicted = [[0, 0, 10, height]], [0], [confidence]
        metrics = detection_metrics([predicted], [([SQUARE], [0])], 1, iou=iou)
        assert metrics.counts.tolist() == [[expected]]


def test_a_class_that_never_occurs_is_left_out_of_the_means():
    metrics = detection_metrics([([SQUARE], [0], [0.9])], [([SQUARE], [0])], 2)
    assert metrics.macro_f1 == metrics.mean_ap == 1
    assert np.isnan(metrics.ap[1])


@pytest.mark.parametrize(("iou", "most"), [(0.5, 100), (0.75, 100), (0.5, 1)])
@pytest.mark.parametrize("seed", range(8))
def test_average_precision_and_counts_are_those_of_pycocotools(seed, iou, most):
    predictions, truths = images(seed, ties=seed % 2 == 0, crowds=seed > 3)
    metrics = detection_metrics(predictions, truths, 3, iou=iou, max_detections=most)
    ap, counts = by_pycocotools(predictions, truths, iou, most)
    np.testing.assert_allclose(metrics.ap, ap, atol=1e-9)
    if most == 100:
        np.testing.assert_array_equal(metrics.counts, counts)
        hit, wrong, missed = counts.sum(axis=0).T
        np.testing.assert_allclose(metrics.precision, hit / (hit + wrong))
        np.testing.assert_allclose(metrics.recall, hit / (hit + missed))
        np.testing.assert_allclose(metrics.f1, 2 * hit / (2 * hit + wrong + missed))
        hit, wrong, missed = counts.sum(axis=(0, 1))
        assert metrics.micro_f1 == pytest.approx(2 * hit / (2 * hit + wrong + missed))


def test_a_perfect_detector_of_a_dense_image_has_an_average_precision_of_one():
    corners = np.stack(np.meshgrid(np.arange(15), np.arange(10)), -1).reshape(-1, 2) * 20.0
    boxes, labels = np.pad(corners, ((0, 0), (0, 2)), constant_values=9), np.zeros(150, int)
    predictions = [(boxes, labels, np.linspace(1, 0.5, 150))]
    assert detection_metrics(predictions, [(boxes, labels)], 1).ap[0] == 1
    capped = detection_metrics(predictions, [(boxes, labels)], 1, max_detections=100).ap[0]
    assert capped == pytest.approx(67 / 101)


def bound(right, kept, level):
    """Clopper-Pearson by its definition: the p at which so many or more are this unlikely."""
    if not right:
        return 0.0
    return optimize.brentq(
        lambda p: stats.binom.sf(right - 1, kept, p) - (1 - level), 0, 1, xtol=1e-13
    )


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_lowest_confidence_that_is_good_enough(seed):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.05, 1, 200).round(2)  # with ties
    right = rng.random(200) < scores**0.3
    for wanted, level in ((0.8, 0.9), (0.9, 0.8), (0.7, 0.95)):
        threshold = confidence_threshold(scores, right, 300, wanted=wanted, level=level)
        cuts = {t: scores >= t for t in np.unique(scores)}
        bounds = {t: bound(right[kept].sum(), kept.sum(), level) for t, kept in cuts.items()}
        expected = min((t for t in cuts if bounds[t] >= wanted), default=None)
        assert threshold.confidence == expected
        if expected is None:
            assert threshold.kept == 0
            continue
        kept = cuts[expected]
        assert threshold.kept == kept.sum()
        assert threshold.precision == pytest.approx(right[kept].mean())
        assert threshold.recall == pytest.approx(right[kept].sum() / 300)
        assert threshold.bound == pytest.approx(bounds[expected], abs=1e-9)


def test_it_takes_45_predictions_without_a_mistake_to_be_sure_of_95_per_cent():
    def right(count):
        scores = np.linspace(0.5, 1, count)
        return confidence_threshold(scores, np.ones(count, bool), count, wanted=0.95)

    assert right(44).confidence is None
    assert right(45).confidence == 0.5


def test_without_predictions_nothing_is_kept():
    none = confidence_threshold([], [], 5, wanted=0.9)
    assert (none.confidence, none.precision, none.recall, none.kept) == (None, None, 0.0, 0)
    assert confidence_threshold([], [], 0, wanted=0.9).recall is None


def test_what_is_out_of_reach_says_how_good_it_got():
    best = confidence_threshold([0.9, 0.8], [True, False], 2, wanted=0.9)
    assert (best.confidence, best.precision) == (None, 1.0)
    assert best.bound == pytest.approx(0.1)  # one of one, at a level of .9
