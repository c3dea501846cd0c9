"""What the steps of a detector leave out, and what they say about it."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.arrays.scope import outside
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import ImageError, LabelError
from unseen.progress import silent
from unseen.steps.training_data import read_training_data

pytestmark = pytest.mark.fiftyone

NAMES = Names()
QUICK = {"architecture": "small", "steps": 2, "batch_size": 2}
HALF = [0, 0, 0.5, 1]


def crowd(*box, **attributes):
    return fo.Detection(label="particle", bounding_box=list(box), **attributes)


@pytest.mark.parametrize("how", ["attribute", "attributes"])
def test_crowds_are_neither_objects_nor_background_for_either_network(wafers, how):
    before = read_training_data(Loop(wafers, NAMES), silent)
    marked = {"iscrowd": 1} if how == "attribute" else {}
    if how == "attributes":  # of older versions of FiftyOne
        marked = {"attributes": {"iscrowd": fo.BooleanAttribute(value=True)}}
    samples = Loop(wafers, NAMES).labelled.sort_by("filepath").limit(2)
    for sample, box in zip(samples.iter_samples(autosave=True), (HALF, [0, 0, 1, 1]), strict=True):
        sample.ground_truth.detections.append(crowd(*box, **marked))
    data = read_training_data(Loop(wafers, NAMES), silent)
    assert [len(xyxy) for xyxy in data.xyxy] == [len(xyxy) for xyxy in before.xyxy]
    np.testing.assert_array_equal(outside(data.scopes[0], height=64, width=64), [[0, 0, 32, 64]])
    np.testing.assert_array_equal(data.scopes[1], data.xyxy[1])  # all but its objects is a crowd
    assert data.scopes[2:] == [None] * len(data.scopes[2:])
    assert data.partly_labelled == 0
    result = unseen.train_detector(wafers, **QUICK)
    assert result.boxes == sum(map(len, before.xyxy))
    assert "2 to ignore (iscrowd)" in result.summary()
    unseen.train_unet(wafers, steps=2, crop_size=32, channels=(4, 8))


def test_boxes_too_thin_for_the_detector_are_counted_and_never_trained(make_wafers):
    """At 64 of 640 px, boxes of 6 px have less than one."""
    dataset = make_wafers(4, labelled=4, test=1)
    for path in dataset.values("filepath"):
        Image.fromarray(np.full((640, 640), 110, np.uint8)).save(path)
    for sample in Loop(dataset, NAMES).labelled.iter_samples(autosave=True):
        sample.metadata = None
        sample.ground_truth.detections = [
            crowd(0.1 * i, 0.1, side / 640, side / 640) for i, side in enumerate((6, 6, 200))
        ]
    result = unseen.train_detector(dataset, image_size=64, **QUICK)
    assert (result.boxes, result.box_problems["too thin inside the detector"]) == (4, 8)
    assert "8 too thin inside the detector" in result.summary()
    for sample in Loop(dataset, NAMES).labelled.iter_samples(autosave=True):
        sample.ground_truth.detections = sample.ground_truth.detections[:2]
    with pytest.raises(LabelError, match=r"all 8 labelled boxes are thinner than 1 px.*image_size"):
        unseen.train_detector(dataset, image_size=64, **QUICK)
    result = unseen.train_detector(dataset, **QUICK)
    assert (result.scale, result.image_size, result.boxes) == (1.0, 320, 8)
    assert "seen in tiles of 320 px" in result.summary()
    applied = unseen.apply_detector(dataset, max_detections=3, min_confidence=0)
    (found,) = Loop(dataset, NAMES).test.values(f"{applied.field}.detections")
    assert len(found) <= 3
    assert applied.full == (len(found) == 3)
    assert ("raise max_detections=3" in applied.summary()) == bool(applied.full)


def test_images_that_moved_are_named(wafers):
    unseen.train_detector(wafers, **QUICK)
    first, *others = map(Path, Loop(wafers, NAMES).test.values("filepath"))
    first.rename(first.with_suffix(".moved"))
    applied = unseen.apply_detector(wafers)
    assert applied.images == len(others)
    assert "1 image was left out, such as" in applied.summary()
    assert str(first) in applied.summary()
    assert (
        "1 labelled test images have no predictions" in unseen.evaluate_detector(wafers).summary()
    )
    for path in others:
        path.rename(path.with_suffix(".moved"))
    with pytest.raises(ImageError, match=r"none of the \d+ images could be read.*filepath"):
        unseen.apply_detector(wafers)


def test_a_class_found_later_is_learned_measured_and_in_the_report(make_wafers, tmp_path):
    dataset = make_wafers(6, labelled=4, test=2)
    dataset.classes = {"ground_truth": ["particle", "scratch"]}
    unseen.train_detector(dataset, **QUICK)
    unseen.apply_detector(dataset)
    assert set(unseen.evaluate_detector(dataset).per_class) == {"particle", "scratch"}
    for sample in dataset.exists("ground_truth").iter_samples(autosave=True):
        stain = fo.Detection(label="stain", bounding_box=[0.5, 0.5, 0.2, 0.2])
        sample.ground_truth.detections.append(stain)
    old = unseen.evaluate_detector(dataset)
    assert old.without_examples == ["stain"]
    trained = unseen.train_detector(dataset, **QUICK)
    assert trained.classes == ["particle", "scratch", "stain"]
    unseen.apply_detector(dataset)
    new = unseen.evaluate_detector(dataset)
    assert (new.without_examples, new.per_class["stain"].support) == ([], 2)
    report = unseen.compare_iterations(dataset, output=str(tmp_path / "report"), pictures=False)
    assert report.classes == ["particle", "scratch", "stain"]
    assert "stain" in report.table
