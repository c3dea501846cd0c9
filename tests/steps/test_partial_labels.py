"""Datasets with images that are labelled in part: trained on, revealed, evaluated, cleaned."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest

import unseen
from unseen.arrays.boxes import rel_xywh_to_xyxy
from unseen.dataset import reading, scope, writing
from unseen.dataset.fields import REGION_LABEL, Names
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError, DatasetError

pytestmark = pytest.mark.fiftyone

NAMES = Names()
LEFT = [[0.0, 0.0, 0.5, 1.0]]
QUICK = {"steps": 2, "batch_size": 2}


def rectangles(*boxes):
    """As a person draws them in the App."""
    return fo.Detections(
        detections=[fo.Detection(label="here", bounding_box=list(box)) for box in boxes]
    )


def regions(*boxes):
    return fo.Detections(
        detections=[fo.Detection(label=REGION_LABEL, bounding_box=list(box)) for box in boxes]
    )


@pytest.fixture
def batch(wafers):
    """A first batch of four, of which three show unseen regions."""
    writing.declare_detections(Loop(wafers, NAMES), NAMES.regions, "test")
    pool = Loop(wafers, NAMES).pool.sort_by("filepath").limit(4)
    pool.tag_samples(NAMES.batch(1))
    ids = pool.values("id")
    found = [
        regions((0.1, 0.1, 0.1, 0.1), (0.6, 0.6, 0.1, 0.1)),
        regions((0.85, 0.0, 0.1, 0.1)),
        regions((0.45, 0.45, 0.05, 0.05)),
        regions(),
    ]
    wafers.set_values(NAMES.regions, dict(zip(ids, found, strict=True)), key_field="id")
    return wafers, ids


# --- reading -----------------------------------------------------------------------------------
def test_no_field_no_value_and_no_rectangle_all_mean_the_whole_image(wafers):
    labelled = reading.read_labels(Loop(wafers, NAMES).labelled, "ground_truth").images
    assert scope.read(Loop(wafers, NAMES), labelled) == ({}, [])
    scope.declare(Loop(wafers, NAMES))
    assert scope.read(Loop(wafers, NAMES), labelled) == ({}, [])
    wafers.set_values(NAMES.scope, {labelled[0].sample_id: fo.Detections()}, key_field="id")
    assert scope.read(Loop(wafers, NAMES), labelled) == ({}, [])
    assert scope.count(Loop(wafers, NAMES)) == 0


def test_a_scope_drawn_by_hand_is_read_in_pixels_and_cut_at_the_border(wafers):
    scope.declare(Loop(wafers, NAMES))
    sample = wafers.first()
    sample[NAMES.scope] = rectangles((0.5, 0.25, 0.75, 0.5), (-0.5, 0, 0.25, 1))
    sample.save()
    labelled = reading.read_labels(Loop(wafers, NAMES).labelled, "ground_truth").images
    found, unusable = scope.read(Loop(wafers, NAMES), labelled)
    assert list(found) == [sample.id]
    np.testing.assert_allclose(found[sample.id], [[32, 16, 64, 48]])
    assert unusable == []


def test_what_is_written_is_what_fiftyone_itself_reads(wafers):
    sample = wafers.first()
    scope.write(Loop(wafers, NAMES), {sample.id: LEFT})
    wafers.reload()
    stored = wafers[sample.id][NAMES.scope]
    assert isinstance(stored, fo.Detections)
    assert [d.bounding_box for d in stored.detections] == LEFT
    scope.write(Loop(wafers, NAMES), {sample.id: []})
    assert wafers[sample.id][NAMES.scope] is None


def test_a_field_of_something_else_is_refused_and_a_field_made_by_hand_is_read(wafers):
    wafers.add_sample_field(NAMES.scope, fo.StringField)
    with pytest.raises(DatasetError, match="unseen_ground_truth_scope"):
        unseen.train_detector(wafers, **QUICK)
    wafers.delete_sample_field(NAMES.scope)
    wafers.set_values(NAMES.scope, {wafers.first().id: rectangles(*LEFT)}, key_field="id")
    assert unseen.train_detector(wafers, **QUICK).partly_labelled == 1
    unseen.clean_dataset(wafers)
    assert wafers.has_sample_field(NAMES.scope)  # it was not made by this package


def test_each_label_field_has_its_own_scope():
    assert Names().scope == "unseen_ground_truth_scope"
    assert Names(series="random", label_field="unseen_random_labels").scope == (
        "unseen_random_labels_scope"
    )
    assert Names(series="b").scope == Names().scope


# --- training ----------------------------------------------------------------------------------
@pytest.mark.parametrize("train", [unseen.train_unet, unseen.train_detector])
def test_training_counts_the_partly_labelled_images_and_lists_unusable_scopes(wafers, train):
    first, second = wafers.limit(2)
    scope.write(Loop(wafers, NAMES), {first.id: LEFT, second.id: [[1.5, 0, 0.5, 1]]})
    result = train(wafers, **QUICK)
    assert result.partly_labelled == 1
    assert "1 of the images are labelled in part" in result.summary()
    assert [s.sample_id for s in result.skipped] == [second.id]
    assert "clear the field" in result.skipped[0].reason
    assert result.images == 3
    record = Loop(wafers, NAMES).record(0)
    assert record["steps"][train.__name__]["partly_labelled"] == 1


@pytest.mark.parametrize("train", [unseen.train_unet, unseen.train_detector])
def test_the_whole_image_as_scope_trains_the_same_weights(wafers, train):
    plain = train(wafers, **QUICK)
    whole = {i: [[0, 0, 1, 1]] for i in wafers.values("id")}
    scope.write(Loop(wafers, NAMES), whole)
    assert train(wafers, **QUICK).final_loss == plain.final_loss
    scope.write(Loop(wafers, NAMES), dict.fromkeys(whole, LEFT))
    assert train(wafers, **QUICK).final_loss != plain.final_loss


# --- where to look -----------------------------------------------------------------------------
def test_the_scope_around_regions_leaves_room_for_half_an_object(batch):
    dataset, ids = batch
    found = scope.around_regions(Loop(dataset, NAMES), ids, strongest=5)
    labels = reading.read_labels(Loop(dataset, NAMES).labelled, "ground_truth").images
    longer = np.concatenate([(i.xyxy[:, 2:] - i.xyxy[:, :2]).max(axis=1) for i in labels])
    margin = np.quantile(longer, 0.9) / 2
    assert margin > 10
    assert list(found) == ids[:3]  # the fourth shows nothing unseen
    xyxy = rel_xywh_to_xyxy(found[ids[2]], 64, 64)
    edge = np.asarray([28.8 - margin] * 2 + [32 + margin] * 2)
    np.testing.assert_allclose(xyxy, [edge], atol=1e-3)
    (one,) = scope.around_regions(Loop(dataset, NAMES), ids[:1], strongest=1).values()
    np.testing.assert_allclose(rel_xywh_to_xyxy(one, 64, 64)[0, 2:], 12.8 + margin, atol=1e-3)


def test_revealing_regions_only_copies_the_boxes_that_reach_into_them(batch):
    dataset, ids = batch
    expected = scope.around_regions(Loop(dataset, NAMES), ids, strongest=5)
    result = unseen.reveal_labels(dataset, regions_only=True)
    assert result.partly_labelled == 3
    assert dataset[ids[3]][NAMES.scope] is None
    assert len(dataset[ids[3]].ground_truth.detections) == len(
        dataset[ids[3]].hidden_truth.detections
    )
    left_out = 0
    for i in ids[:3]:
        sample = dataset[i]
        stored = [d.bounding_box for d in sample[NAMES.scope].detections]
        np.testing.assert_allclose(stored, expected[i])
        shown = [d.bounding_box for d in sample.ground_truth.detections]
        for d in sample.hidden_truth.detections:
            x1, y1, w, h = d.bounding_box
            reaches_in = any(
                x1 < a + c and a < x1 + w and y1 < b + e and b < y1 + h
                for a, b, c, e in expected[i]
            )
            assert (d.bounding_box in shown) == reaches_in
            left_out += not reaches_in
    assert left_out
    assert result.boxes == sum(len(dataset[i].ground_truth.detections) for i in ids)
    assert unseen.train_detector(dataset, **QUICK).partly_labelled == 3


def test_initial_images_are_labelled_as_a_whole_also_with_regions_only(wafers):
    writing.declare_detections(Loop(wafers, NAMES), NAMES.regions, "test")
    first = wafers.limit(1)
    first.tag_samples("initial")
    first.set_values("ground_truth", [None])
    first.set_values(NAMES.regions, [regions((0, 0, 0.1, 0.1))])
    assert unseen.reveal_labels(wafers, iteration=0, regions_only=True).partly_labelled == 0


def test_a_simulation_labels_the_regions_of_ranked_batches_and_the_whole_of_others(make_wafers):
    dataset = make_wafers(12, labelled=0, test=4)
    settings = {
        "hidden_field": "hidden_truth",
        "label_field": "simulated",
        "strategies": ("plain", "random"),
        "iterations": 1,
        "budget": 3,
        "initial": 4,
        "unet_steps": 30,
        "detector": False,
    }
    unseen.simulate(dataset, regions_only=True, **settings)
    record = Loop(dataset, Names(label_field="simulated")).record(1)
    found = record["steps"]["reveal_labels"]["partly_labelled"]
    loop = Names(label_field="simulated")
    assert scope.count(Loop(dataset, loop)) == found > 0
    assert scope.count(Loop(dataset.match_tags(loop.batch(1)), loop)) == found
    baseline = Names(series="random", label_field="unseen_random_labels")
    record = Loop(dataset, baseline).record(1)
    assert record["steps"]["reveal_labels"]["partly_labelled"] == 0
    with pytest.raises(ConfigError, match="regions_only: True"):
        unseen.simulate(dataset, **settings)


# --- evaluation --------------------------------------------------------------------------------
@pytest.fixture
def predicted(make_wafers, rng):
    """Predictions that are shaken ground truth and noise, for 12 test images."""
    dataset = make_wafers(1, labelled=1, test=12)
    writing.declare_detections(Loop(dataset, NAMES), "predictions_00", "test")
    found = {}
    for sample in dataset.match_tags("test"):
        boxes = [
            (d.label, np.abs(np.asarray(d.bounding_box) + rng.normal(0, 0.01, 4)), rng.random())
            for d in sample.ground_truth.detections
        ]
        noise = [(*rng.uniform(0, 0.7, 2), *rng.uniform(0.05, 0.2, 2)) for _ in range(3)]
        found[sample.id] = boxes + [("particle", box, rng.random()) for box in noise]
    writing.save_detections(dataset, "predictions_00", found)
    classes = {"classes": ["particle", "scratch"], "parameters": {}}
    Loop(dataset, NAMES).write_entry(0, "train_detector", classes)
    Loop(dataset, NAMES).write_entry(0, "apply_detector", {"parameters": {}})
    return dataset


def test_evaluating_with_a_scope_is_evaluating_the_boxes_in_it(predicted):
    whole = unseen.evaluate_detector(predicted, min_confidence=0.3)
    test = predicted.match_tags("test")
    some = test.limit(7)
    scopes = {i: [[0.1, 0.0, 0.4, 0.9], [0.4, 0.3, 0.3, 0.3]] for i in some.values("id")}
    scope.write(Loop(predicted, NAMES), scopes)
    found = unseen.evaluate_detector(predicted, min_confidence=0.3)
    assert found.partly_labelled == 7
    assert found.images == 12

    for sample in some.iter_samples(autosave=True):
        for field in ("ground_truth", "predictions_00"):
            kept = []
            for d in sample[field].detections:
                x, y, w, h = d.bounding_box
                x, y = x + w / 2, y + h / 2
                if (0.1 <= x < 0.5 and y < 0.9) or (0.4 <= x < 0.7 and 0.3 <= y < 0.6):
                    kept.append(d)
            sample[field].detections = kept
    predicted.clear_sample_field(NAMES.scope)
    by_hand = unseen.evaluate_detector(predicted, min_confidence=0.3)
    assert found.per_class == by_hand.per_class
    assert found.mean_ap == by_hand.mean_ap
    assert found.per_class != whole.per_class
    assert sum(m.support for m in found.per_class.values()) > 5


def test_evaluating_with_a_scope_leaves_every_box_where_it_is(predicted):
    scope.write(
        Loop(predicted, NAMES), {i: LEFT for i in predicted.match_tags("test").values("id")}
    )
    fields = ("ground_truth.detections.bounding_box", "predictions_00.detections.bounding_box")
    before = [predicted.values(field) for field in fields]
    unseen.evaluate_detector(predicted)
    assert [predicted.values(field) for field in fields] == before
    results = predicted.load_evaluation_results("iter_00")
    assert len(predicted.load_evaluation_view("iter_00")) == 12
    counted = predicted.match_tags("test").sum("iter_00_tp")
    assert counted == (np.asarray(results.ytrue) == np.asarray(results.ypred)).sum()


# --- clean -------------------------------------------------------------------------------------
def test_the_scope_is_grouped_with_our_fields_and_cleaned_with_them(batch):
    dataset, _ = batch
    unseen.reveal_labels(dataset, regions_only=True)
    groups = {g.name: g.paths for g in dataset.app_config.sidebar_groups}
    assert NAMES.scope in groups["unseen"]
    unseen.clean_dataset(dataset)
    assert not dataset.has_sample_field(NAMES.scope)
