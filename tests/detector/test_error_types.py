"""Kinds of errors in closed form, and their costs by correcting them and measuring again."""

import numpy as np
import pytest
from detections import images

from unseen.detector.calibration import calibration_error, reliability
from unseen.detector.error_types import KINDS, detection_errors
from unseen.detector.metrics import detection_metrics, match_boxes

SQUARE, HALF_OFF, FAR = [0, 0, 10, 10], [0, 0, 10, 4], [50, 50, 10, 10]
NAMES = [*KINDS]


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "kinds", "missed"),
    [
        ([], [], [], [], 1),
        ([SQUARE], [0], [0.9], [None], 0),
        ([SQUARE, SQUARE], [0, 0], [0.8, 0.9], ["duplicate", None], 0),
        ([SQUARE], [1], [0.9], ["class"], 0),
        ([HALF_OFF], [0], [0.9], ["place"], 0),
        ([HALF_OFF], [1], [0.9], ["both"], 1),
        ([FAR], [0], [0.9], ["background"], 1),
        # Two stand for the same object: found once all the same.
        ([HALF_OFF, SQUARE], [0, 1], [0.9, 0.8], ["place", "class"], 0),
        # What is not confident is neither an error nor found.
        ([FAR, SQUARE], [0, 0], [0.2, 0.3], [None, None], 1),
        ([SQUARE], [1], [0.4], [None], 1),
    ],
)
def test_each_prediction_has_one_kind(boxes, labels, scores, kinds, missed):
    predicted = np.reshape(boxes, (-1, 4)), np.asarray(labels, int), np.asarray(scores, float)
    found = detection_errors(match_boxes([predicted], [([SQUARE], [0])], 2))
    assert [NAMES[k] if k >= 0 else None for k in found.kinds] == kinds
    counts = dict(zip(NAMES, found.counts.sum(axis=0).tolist(), strict=True))
    assert counts == {k: kinds.count(k) for k in NAMES} | {"missed": missed}


def test_nothing_costs_nothing():
    nothing = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)
    for matches in (match_boxes([], [], 2), match_boxes([nothing], [nothing[:2]], 2)):
        found = detection_errors(matches)
        np.testing.assert_array_equal(found.costs, np.zeros(len(KINDS)))
        np.testing.assert_array_equal(found.counts, np.zeros((2, len(KINDS))))


def test_a_class_that_is_never_found_costs_all_of_its_average_precision():
    predicted = [SQUARE], [0], [0.9]
    found = detection_errors(match_boxes([predicted], [([SQUARE, FAR], [0, 1])], 2))
    assert found.costs[NAMES.index("missed")] == 0.5


@pytest.mark.parametrize("seed", range(12))
def test_costs_are_those_of_the_same_detections_without_these_errors(seed):
    predictions, truths = images(seed, number=10, crowds=seed % 2 == 0)
    found = detection_errors(match_boxes(predictions, truths, 3), min_confidence=0)
    kinds = np.split(found.kinds, np.cumsum([len(scores) for *_, scores in predictions])[:-1])
    before = detection_metrics(predictions, truths, 3).mean_ap
    for kind in NAMES:
        mended = [corrected(kind, *pair) for pair in zip(predictions, truths, kinds, strict=True)]
        after = detection_metrics(*zip(*mended, strict=True), 3).mean_ap
        assert found.costs[NAMES.index(kind)] == pytest.approx(after - before, abs=0.004), kind


def corrected(kind, predicted, true, kinds):
    """An image without its errors of a kind: boxes, classes and confidences; the objects."""
    boxes, labels, scores = (np.array(part) for part in predicted)
    objects, classes, is_crowd = (np.array(part) for part in true)
    names = [NAMES[k] if k >= 0 else None for k in kinds]
    pairs = [overlap(b, o) for b in boxes for o in objects]
    overlaps = np.reshape(np.asarray(pairs, float), (len(boxes), len(objects)))
    overlaps = np.where(is_crowd, 0, overlaps)
    taken = taken_by(overlaps, labels, classes, scores)
    free = [m for m in np.flatnonzero(~is_crowd) if m not in taken]
    gone = []
    for n in np.argsort(-scores, kind="stable"):
        if names[n] not in ("class", "place"):
            gone += [n] if names[n] == kind else []
            continue
        is_same = labels[n] == classes
        wanted = np.where(is_same if names[n] == "place" else ~is_same, overlaps[n], 0)
        target = int(wanted.argmax())
        claimed = target in free
        if claimed:
            free.remove(target)
        if names[n] == kind:
            if claimed:
                boxes[n], labels[n] = objects[target], classes[target]
            else:
                gone.append(n)
    left = np.setdiff1d(np.arange(len(boxes)), gone)
    kept = np.setdiff1d(np.arange(len(objects)), free if kind == "missed" else [])
    return (boxes[left], labels[left], scores[left]), (objects[kept], classes[kept], is_crowd[kept])


def taken_by(overlaps, labels, classes, scores):
    """Object -> the prediction that found it, by the greedy rule of COCO."""
    taken = {}
    for n in np.argsort(-scores, kind="stable"):
        rows = [m for m in range(len(classes)) if m not in taken and classes[m] == labels[n]]
        best = max(rows, key=lambda m: (overlaps[n, m], m), default=None)
        if best is not None and overlaps[n, best] >= 0.5:
            taken[best] = n
    return taken


def overlap(a, b):
    """Intersection over union of two boxes [x, y, width, height]."""
    width, height = (min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    both = max(0, width) * max(0, height)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def test_calibration_in_closed_form():
    assert calibration_error(reliability([], [])) is None
    scores = [0.25] * 4 + [1.0] * 2
    bins = reliability(scores, [True, False, False, False, True, True])
    assert [(b.right, b.predictions) for b in bins] == [(1, 4), (2, 2)]
    assert calibration_error(bins) == 0
    assert calibration_error(reliability(scores, [False] * 6)) == pytest.approx(np.mean(scores))
