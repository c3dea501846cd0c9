"""Datasets with images that are labelled in part: trained on, revealed, simulated, cleaned."""

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


def boxes(*xywh, label=REGION_LABEL):
    return fo.Detections(detections=[fo.Detection(label=label, bounding_box=list(b)) for b in xywh])


def labelled_images(dataset):
    return reading.read_labels(Loop(dataset, NAMES).labelled, "ground_truth").images


@pytest.fixture
def batch(wafers):
    """A first batch of four, of which three show unseen regions."""
    loop = Loop(wafers, NAMES)
    writing.declare_detections(loop, NAMES.regions, "test")
    pool = loop.pool.sort_by("filepath").limit(4)
    pool.tag_samples(NAMES.batch(1))
    loop.write_entry(0, "select_batch", {"batch": NAMES.batch(1)})
    ids = pool.values("id")
    regions = [
        boxes((0.1, 0.1, 0.1, 0.1), (0.6, 0.6, 0.1, 0.1)),
        boxes((0.85, 0.0, 0.1, 0.1)),
        boxes((0.45, 0.45, 0.05, 0.05)),
        boxes(),
    ]
    wafers.set_values(NAMES.regions, dict(zip(ids, regions, strict=True)), key_field="id")
    return wafers, ids


# --- reading and writing -----------------------------------------------------------------------
def test_no_field_no_value_and_no_rectangle_all_mean_the_whole_image(wafers):
    loop = Loop(wafers, NAMES)
    labelled = labelled_images(wafers)
    assert scope.read(loop, labelled) == ({}, [])
    scope.declare(loop)
    assert scope.read(loop, labelled) == ({}, [])
    wafers.set_values(NAMES.scope, {labelled[0].sample_id: fo.Detections()}, key_field="id")
    assert scope.read(loop, labelled) == ({}, [])
    assert scope.count(loop) == 0


def test_a_scope_drawn_by_hand_is_read_in_pixels_and_cut_at_the_border(wafers):
    loop = Loop(wafers, NAMES)
    scope.declare(loop)
    sample = wafers.first()
    sample[NAMES.scope] = boxes((0.5, 0.25, 0.75, 0.5), (-0.5, 0, 0.25, 1), label="here")
    sample.save()
    scopes, unusable = scope.read(loop, labelled_images(wafers))
    assert list(scopes) == [sample.id]
    np.testing.assert_allclose(scopes[sample.id], [[32, 16, 64, 48]])
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
    wafers.set_values(NAMES.scope, {wafers.first().id: boxes(*LEFT)}, key_field="id")
    assert unseen.train_detector(wafers, **QUICK).partly_labelled == 1
    unseen.clean_dataset(wafers)
    assert wafers.has_sample_field(NAMES.scope)  # it was not made by this package


def test_each_label_field_has_its_own_scope():
    names = Names(series="random", label_field="unseen_random_labels")
    assert names.scope == "unseen_random_labels_scope"
    assert Names(series="b").scope == Names().scope == "unseen_ground_truth_scope"


# --- training ----------------------------------------------------------------------------------
@pytest.mark.parametrize("train", [unseen.train_unet, unseen.train_detector])
def test_training_respects_scopes_counts_them_and_lists_unusable_ones(wafers, train):
    loop = Loop(wafers, NAMES)
    plain = train(wafers, **QUICK)
    whole = {i: [[0, 0, 1, 1]] for i in wafers.values("id")}
    scope.write(loop, whole)
    assert train(wafers, **QUICK).final_loss == plain.final_loss
    scope.write(loop, dict.fromkeys(whole, LEFT))
    assert train(wafers, **QUICK).final_loss != plain.final_loss

    scope.write(loop, {i: [] for i in whole})
    first, second = wafers.limit(2)
    scope.write(loop, {first.id: LEFT, second.id: [[1.5, 0, 0.5, 1]]})
    result = train(wafers, **QUICK)
    assert (result.images, result.partly_labelled) == (3, 1)
    assert "1 of the images are labelled in part" in result.summary()
    assert [s.sample_id for s in result.skipped] == [second.id]
    assert "clear the field" in result.skipped[0].reason
    assert loop.entry(0, train.__name__)["partly_labelled"] == 1


# --- where to look -----------------------------------------------------------------------------
def test_the_scope_around_regions_leaves_room_for_half_an_object(batch):
    dataset, ids = batch
    loop = Loop(dataset, NAMES)
    scopes = scope.around_regions(loop, ids, strongest=5)
    sizes = [i.xyxy[:, 2:] - i.xyxy[:, :2] for i in labelled_images(dataset)]
    margin = np.quantile(np.concatenate(sizes).max(axis=1), 0.9) / 2
    assert margin > 10
    assert list(scopes) == ids[:3]  # the fourth shows nothing unseen
    xyxy = rel_xywh_to_xyxy(scopes[ids[2]], 64, 64)
    edge = np.asarray([28.8 - margin] * 2 + [32 + margin] * 2)
    np.testing.assert_allclose(xyxy, [edge], atol=1e-3)
    (one,) = scope.around_regions(loop, ids[:1], strongest=1).values()
    np.testing.assert_allclose(rel_xywh_to_xyxy(one, 64, 64)[0, 2:], 12.8 + margin, atol=1e-3)


def test_revealing_regions_only_copies_the_boxes_that_reach_into_them(batch):
    dataset, ids = batch
    expected = scope.around_regions(Loop(dataset, NAMES), ids, strongest=5)
    result = unseen.reveal_labels(dataset, regions_only=True)
    assert result.partly_labelled == 3
    whole = dataset[ids[3]]
    assert whole[NAMES.scope] is None
    assert len(whole.ground_truth.detections) == len(whole.hidden_truth.detections)
    left_out = 0
    for i in ids[:3]:
        sample = dataset[i]
        stored = [d.bounding_box for d in sample[NAMES.scope].detections]
        np.testing.assert_allclose(stored, expected[i])
        shown = [d.bounding_box for d in sample.ground_truth.detections]
        for d in sample.hidden_truth.detections:
            x, y, w, h = d.bounding_box
            reaches_in = any(
                x < a + c and a < x + w and y < b + e and b < y + h for a, b, c, e in expected[i]
            )
            assert (d.bounding_box in shown) == reaches_in
            left_out += not reaches_in
    assert left_out
    assert result.boxes == sum(len(dataset[i].ground_truth.detections) for i in ids)
    assert unseen.train_detector(dataset, **QUICK).partly_labelled == 3
    groups = {g.name: g.paths for g in dataset.app_config.sidebar_groups}
    assert NAMES.scope in groups["unseen"]
    unseen.clean_dataset(dataset)
    assert not dataset.has_sample_field(NAMES.scope)


def test_initial_images_are_labelled_as_a_whole_also_with_regions_only(wafers):
    writing.declare_detections(Loop(wafers, NAMES), NAMES.regions, "test")
    first = wafers.limit(1)
    first.tag_samples("initial")
    first.set_values("ground_truth", [None])
    first.set_values(NAMES.regions, [boxes((0, 0, 0.1, 0.1))])
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
    names = Names(label_field="simulated")
    loop = Loop(dataset, names)
    in_part = loop.entry(1, "reveal_labels")["partly_labelled"]
    assert scope.count(loop) == in_part > 0
    assert scope.count(loop.on(dataset.match_tags(names.batch(1)))) == in_part
    baseline = Loop(dataset, Names(series="random", label_field="unseen_random_labels"))
    assert baseline.entry(1, "reveal_labels")["partly_labelled"] == 0
    with pytest.raises(ConfigError, match="regions_only: True"):
        unseen.simulate(dataset, **settings)
