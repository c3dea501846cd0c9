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


@pytest.fixture
def detected(make_wafers, tmp_path):
    """A hardly trained detector; what it says of the test split is written by hand below."""
    wafers = make_wafers(14, labelled=6, test=8)
    unseen.split_dataset(wafers, initial=6)
    unseen.train_detector(
        wafers,
        architecture="small",
        steps=3,
        batch_size=2,
        image_size=64,
        model_dir=str(tmp_path),
    )
    return wafers


def say(dataset, wrong=0, confidence=0.05, label="scratch"):
    """Predictions on the test split: the truth, but for `wrong` far too small boxes per image."""
    field = NAMES.predictions(0)
    writing.declare_detections(Loop(dataset, NAMES), field, "test")
    found = {}
    for sample in dataset.match_tags("test"):
        boxes = [(d.label, d.bounding_box, confidence) for d in sample.ground_truth.detections]
        boxes += [(label, [0.9, 0.02 * i, 0.01, 0.01], 0.9) for i in range(wrong)]
        found[sample.id] = boxes
    writing.save_detections(dataset, field, found)


def test_what_is_sure_enough_goes_into_a_field_of_its_own(detected, tmp_path):
    say(detected, wrong=3)
    before = detected.values("ground_truth.detections.id")
    result = unseen.auto_label(detected, wanted_precision=0.7, model_dir=str(tmp_path))
    assert set(result.thresholds) == {"particle", "scratch"}
    assert result.thresholds["particle"]["confidence"] == pytest.approx(0.05)
    assert result.thresholds["scratch"]["confidence"] is None  # most of them were wrong
    assert detected.values("ground_truth.detections.id") == before
    pool = detected.match_tags("test", bool=False).exists("ground_truth", False)
    assert result.images == len(pool) == len(detected.exists(NAMES.auto_labels))
    kept = pool.values(f"{NAMES.auto_labels}.detections")
    said = pool.values(f"{NAMES.predictions(0)}.detections")
    for labels, predictions in zip(kept, said, strict=True):
        sure = [d for d in predictions if d.label == "particle" and d.confidence >= 0.05]
        assert [d.bounding_box for d in labels] == [d.bounding_box for d in sure]
    assert result.boxes == sum(map(len, kept))
    entry = Loop(detected, NAMES).record(0)["steps"]["auto_label"]
    trained = Loop(detected, NAMES).record(0)["steps"]["train_detector"]
    assert entry["digest"] == trained["digest"] == result.digest
    assert entry["thresholds"] == result.thresholds
    assert "no labels until somebody" in result.summary()
    assert len(Loop(detected, NAMES).pool) == len(pool)  # still to be labelled


def test_a_detector_that_is_not_good_enough_labels_nothing(detected, tmp_path):
    say(detected)
    result = unseen.auto_label(detected, wanted_precision=0.999, model_dir=str(tmp_path))
    assert result.boxes == result.images == 0
    assert detected.get_field(NAMES.auto_labels) is None
    assert "not good enough for any class" in result.summary()


def test_a_dry_run_gives_the_thresholds_and_writes_nothing(detected, tmp_path):
    say(detected)
    result = unseen.auto_label(
        detected, wanted_precision=0.7, dry_run=True, model_dir=str(tmp_path)
    )
    assert result.thresholds["particle"]["confidence"] is not None
    assert "Nothing was written" in result.summary()
    detected.reload()
    assert detected.get_field(NAMES.auto_labels) is None


def test_without_a_detector_or_a_measured_test_split_it_says_what_to_do(make_wafers, tmp_path):
    wafers = make_wafers(8)
    with pytest.raises(LabelError, match="run train_detector first"):
        unseen.auto_label(wafers)
    unseen.train_detector(
        wafers, architecture="small", steps=1, batch_size=1, image_size=64, model_dir=str(tmp_path)
    )
    with pytest.raises(DatasetError, match="apply_detector with target='test'"):
        unseen.auto_label(wafers)


def test_clean_removes_the_automatic_labels(detected, tmp_path):
    say(detected)
    unseen.auto_label(detected, wanted_precision=0.7, model_dir=str(tmp_path))
    unseen.clean_dataset(detected)
    assert detected.get_field(NAMES.auto_labels) is None


def test_what_lies_outside_of_a_test_images_scope_is_not_held_against_the_detector(
    detected, tmp_path
):
    say(detected, wrong=3, label="particle")  # at the right edge
    settings = {"wanted_precision": 0.7, "dry_run": True, "model_dir": str(tmp_path)}
    before = unseen.auto_label(detected, **settings).thresholds
    test = detected.match_tags("test").values("id")
    scope.write(Loop(detected, NAMES), {i: [[0.0, 0.0, 0.9, 1.0]] for i in test})
    after = unseen.auto_label(detected, **settings).thresholds
    assert before["particle"]["confidence"] is None
    assert after["particle"]["confidence"] == pytest.approx(0.05)
