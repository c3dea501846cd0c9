"""Automatic labels: sure enough by held-out labels, in a field of their own, on record."""

from __future__ import annotations

import pytest

import unseen
from unseen.dataset import scope, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError

pytestmark = pytest.mark.fiftyone

NAMES = Names()
QUICK = {"architecture": "small", "steps": 3, "batch_size": 2, "image_size": 64}


@pytest.fixture(scope="module")
def detected_once(make_module_wafers):
    """A hardly trained detector; what it says of the test split is written by hand below."""
    wafers = make_module_wafers(14, labelled=6, test=8)
    unseen.split_dataset(wafers, initial=6)
    unseen.train_detector(wafers, **QUICK)
    return wafers


@pytest.fixture
def detected(detected_once, copy_of):
    return copy_of(detected_once)


def say(dataset, wrong=0, label="scratch"):
    """Predictions on the test split: the truth, and `wrong` far too small boxes per image."""
    field = NAMES.predictions(0)
    writing.declare_detections(Loop(dataset, NAMES), field, "test")
    predictions = {}
    for sample in dataset.match_tags("test"):
        boxes = [(d.label, d.bounding_box, 0.05) for d in sample.ground_truth.detections]
        boxes += [(label, [0.9, 0.02 * i, 0.01, 0.01], 0.9) for i in range(wrong)]
        predictions[sample.id] = boxes
    writing.save_detections(dataset, field, predictions)


def test_what_is_sure_enough_goes_into_a_field_of_its_own(detected):
    say(detected, wrong=3)
    loop = Loop(detected, NAMES)
    before = detected.values("ground_truth.detections.id")
    planned = unseen.auto_label(detected, wanted_precision=0.7, dry_run=True)
    assert "Nothing was written" in planned.summary()
    assert detected.get_field(NAMES.auto_labels) is None
    result = unseen.auto_label(detected, wanted_precision=0.7)
    assert result.thresholds == planned.thresholds
    assert set(result.thresholds) == {"particle", "scratch"}
    assert result.thresholds["particle"]["confidence"] == pytest.approx(0.05)
    assert result.thresholds["scratch"]["confidence"] is None  # most of them were wrong
    assert detected.values("ground_truth.detections.id") == before
    pool = detected.match_tags("test", bool=False).exists("ground_truth", False)
    assert result.images == len(pool) == len(detected.exists(NAMES.auto_labels))
    kept, predictions = pool.values(
        [f"{field}.detections" for field in (NAMES.auto_labels, NAMES.predictions(0))]
    )
    for labels, boxes in zip(kept, predictions, strict=True):
        sure = [d for d in boxes if d.label == "particle" and d.confidence >= 0.05]
        assert [d.bounding_box for d in labels] == [d.bounding_box for d in sure]
    assert result.boxes == sum(map(len, kept))
    entry = loop.entry(0, "auto_label")
    assert entry["digest"] == loop.entry(0, "train_detector")["digest"] == result.digest
    assert entry["thresholds"] == result.thresholds
    assert "no labels until somebody" in result.summary()
    assert len(loop.pool) == len(pool)  # still to be labelled
    unseen.clean_dataset(detected, keep_checkpoints=True)
    assert detected.get_field(NAMES.auto_labels) is None


def test_a_detector_that_is_not_good_enough_labels_nothing(detected):
    say(detected)
    result = unseen.auto_label(detected, wanted_precision=0.999)
    assert result.boxes == result.images == 0
    assert detected.get_field(NAMES.auto_labels) is None
    assert "not good enough for any class" in result.summary()


def test_labels_of_an_older_detector_go_when_a_new_one_is_sure_of_nothing(detected):
    say(detected)
    assert unseen.auto_label(detected, wanted_precision=0.7).images
    say(detected, wrong=9)
    say_nothing = {"wanted_precision": 0.999}
    unseen.auto_label(detected, **say_nothing, dry_run=True)
    assert len(detected.exists(NAMES.auto_labels))
    unseen.auto_label(detected, **say_nothing)
    assert not len(detected.exists(NAMES.auto_labels))


def test_without_a_detector_or_a_measured_test_split_it_says_what_to_do(wafers, detected):
    with pytest.raises(LabelError, match="run train_detector first"):
        unseen.auto_label(wafers)
    with pytest.raises(DatasetError, match="apply_detector on the test split"):
        unseen.auto_label(detected)


def test_boxes_outside_of_a_test_images_scope_do_not_count_against_the_detector(detected):
    say(detected, wrong=3, label="particle")  # at the right edge
    settings = {"wanted_precision": 0.7, "dry_run": True}
    before = unseen.auto_label(detected, **settings).thresholds
    test = detected.match_tags("test").values("id")
    scope.write(Loop(detected, NAMES), {i: [[0.0, 0.0, 0.9, 1.0]] for i in test})
    after = unseen.auto_label(detected, **settings).thresholds
    assert before["particle"]["confidence"] is None
    assert after["particle"]["confidence"] == pytest.approx(0.05)
